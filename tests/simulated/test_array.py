import copy
import inspect
import operator
import pickle

import numpy as np
import pytest
from simulated.conftest import planted

from xpcnn import ops
from xpcnn.backend import to_device, xp
from xpcnn.geometry import Window
from xpcnn.simulated import ledger, ndarray
from xpcnn.simulated.indexing import OrderError

A = np.arange(1, 7, dtype=np.float32).reshape(2, 3)
B = np.array([[3, 1, 2], [2, 2, 5]], np.float32)
BINARY = [
    operator.add,
    operator.sub,
    operator.mul,
    operator.truediv,
    operator.floordiv,
    operator.mod,
    operator.pow,
]
BITWISE = [operator.and_, operator.or_, operator.xor, operator.lshift, operator.rshift]
IN_PLACE = [operator.iadd, operator.isub, operator.imul, operator.itruediv, operator.ifloordiv, operator.ipow]
COMPARISONS = [operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne]


def same(result, expected):
    """Values, dtype and shape; and it lives on the device."""
    assert isinstance(result, ndarray)
    assert result.dtype == expected.dtype
    assert result.shape == np.shape(expected)
    np.testing.assert_array_equal(result.get(), expected)


# ---------------------------------------------------------------- arithmetic


@pytest.mark.parametrize("operate", BINARY + COMPARISONS, ids=lambda f: f.__name__)
def test_operators_compute_as_numpy_does(operate):
    same(operate(to_device(A), to_device(B)), operate(A, B))
    same(operate(to_device(A), 2), operate(A, 2))
    same(operate(2, to_device(A)), operate(2, A))
    same(operate(np.float32(2), to_device(A)), operate(np.float32(2), A))


@pytest.mark.parametrize("operate", BITWISE, ids=lambda f: f.__name__)
def test_bitwise_operators_too(operate):
    a, b = np.arange(6, dtype=np.uint32), np.uint32(3)
    same(operate(to_device(a), b), operate(a, b))
    same(operate(b, to_device(a)), operate(b, a))


@pytest.mark.parametrize("operate", [operator.neg, operator.pos, abs], ids=lambda f: f.__name__)
def test_unary_operators(operate):
    same(operate(to_device(-A)), operate(-A))
    same(~to_device(A > 2), ~(A > 2))


def test_divmod_and_matmul():
    for mine, numpys in zip(divmod(to_device(A), 2), divmod(A, 2), strict=True):
        same(mine, numpys)
    same(to_device(A) @ to_device(B.T.copy()), A @ B.T)


@pytest.mark.parametrize("operate", IN_PLACE, ids=lambda f: f.__name__)
def test_in_place_operators_change_the_array_itself(operate):
    x, view = to_device(A.copy()), None
    view = x[:]
    result = operate(x, to_device(B))
    assert result is x
    same(view, operate(A.copy(), B))


def test_in_place_never_widens_silently():
    x = to_device(np.arange(3))
    with pytest.raises(TypeError, match="same_kind"):
        x += 0.5


def test_results_are_contiguous_whatever_the_order_of_the_input():
    transposed = to_device(A).T
    assert not transposed.flags.c_contiguous
    for result in (
        transposed + 1,
        transposed * transposed,
        xp.exp(transposed),
        xp.where(transposed > 1, transposed, 0),
    ):
        assert result.flags["C_CONTIGUOUS"]
    assert xp.zeros_like(transposed).flags.f_contiguous  # as in CuPy: order="K"
    assert transposed.copy().flags.c_contiguous
    assert transposed.astype("float64").flags.f_contiguous


def test_reductions_give_arrays_without_axes():
    for result in (
        to_device(A).sum(),
        to_device(A).mean(),
        to_device(A).max(),
        xp.sum(to_device(A)),
        to_device(A)[0, 1],
    ):
        assert isinstance(result, ndarray)
        assert result.shape == ()
    assert to_device(A).sum(axis=1, keepdims=True).shape == (2, 1)


def test_an_overflow_warns_no_more_than_on_a_gpu():
    x = to_device(np.array([0, 1e30], np.float32))
    assert (1 / x).get()[0] == np.inf
    assert (x * x).get()[1] == np.inf
    assert xp.log(x).get()[0] == -np.inf


@pytest.mark.parametrize(
    "method",
    [
        lambda x: x.argmax(1),
        lambda x: x.argmin(0),
        lambda x: x.astype("int32"),
        lambda x: x.clip(2, 4),
        lambda x: x.cumsum(axis=1),
        lambda x: x.prod(axis=0),
        lambda x: x.reshape(3, -1),
        lambda x: x.reshape((6,)),
        lambda x: x.transpose(1, 0),
        lambda x: x.swapaxes(0, 1),
        lambda x: x.std(axis=0),
        lambda x: x.var(ddof=1),
        lambda x: x.repeat(2, axis=1),
        lambda x: x.ravel(),
        lambda x: x.flatten(),
        lambda x: x.round(),
        lambda x: x.argsort(axis=1),
        lambda x: x.any(),
        lambda x: x.all(axis=0),
        lambda x: x.T,
        lambda x: x.mT,
        lambda x: x.real,
        lambda x: x.view("uint32"),
        lambda x: x.diagonal(),
        lambda x: x.trace(),
        lambda x: x[None].squeeze(0),
    ],
)
def test_methods_compute_as_numpys(method):
    same(method(to_device(A)), np.asarray(method(A)))


def test_methods_that_numpy_lacks_or_calls_otherwise():
    x = to_device(A)
    same(x.ptp(axis=1), np.ptp(A, axis=1))
    assert x.argmax(axis=1, dtype=xp.int32).dtype == np.int32
    same(x.take(to_device(np.array([1, 0])), axis=1), A.take([1, 0], axis=1))
    same(x.dot(to_device(A[0])), A.dot(A[0]))
    same(x.compress(to_device(np.array([True, False])), axis=0), A[:1])


def test_views_share_memory_and_cost_nothing():
    x = to_device(A.copy())
    with ledger() as counts:
        views = [x[0], x.T, x.reshape(-1), x[:, None], x.swapaxes(0, 1), x[0, 1], x.ravel()]
    assert (counts.launches, counts.allocations) == (0, 0)
    x[...] = 7
    assert all((view.get() == 7).all() for view in views)


def test_what_is_there_already_costs_nothing():
    x = to_device(A)
    with ledger() as counts:
        assert x.astype("float32", copy=False) is x
        assert xp.ascontiguousarray(x) is x
        assert xp.asarray(x) is x
    assert not counts.entries


def test_writing_into_out_is_a_launch_without_an_allocation():
    x, out = to_device(A), xp.empty((2,), np.float32)
    with ledger() as counts:
        assert x.sum(axis=1, out=out) is out
        assert xp.max(x, axis=1, out=out) is out
    assert (counts.launches, counts.allocations) == (2, 0)


def test_scatter_adds_up_whole_numbers_that_come_twice():
    x = to_device(np.zeros(3, np.int32))
    x.scatter_add(to_device(np.array([1, 1])), to_device(np.ones(2, np.int32)))
    assert x.tolist() == [0, 2, 0]


TWICE = np.array([0, 1, 1])


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize(
    "add",
    [
        lambda x, i: x.scatter_add(i, 1.0),
        lambda x, i: xp.add.at(x, i, 1.0),
        lambda x, i: xp.add.at(x.reshape(3, 1), (i, xp.zeros_like(i)), 1.0),
        lambda x, i: xp.bincount(i, x),
        lambda x, i: xp.bincount(i, weights=x),
        lambda x, i: xp.histogram(i, weights=x),
    ],
)
def test_a_floating_sum_by_atomics_is_refused(dtype, add):
    """Its order changes from run to run."""
    with pytest.raises(OrderError, match=r"order that changes from run to run.*sum along an axis"):
        add(to_device(np.zeros(3, dtype)), to_device(TWICE))


def test_sums_whose_order_makes_no_difference_are_computed():
    x = to_device(np.zeros(3, np.float32))
    x.scatter_max(to_device(TWICE), to_device(np.array([0, 5, 3], np.float32)))
    assert x.tolist() == [0, 5, 0]
    assert xp.bincount(to_device(TWICE)).tolist() == [1, 2]


@pytest.mark.parametrize("op", ["col2im", "max_pool_backward", "average_pool_backward"])
def test_add_at_planted_in_the_reference_is_found(op):
    """The adjoints of windows are the sums where add.at tempts."""
    function, window = getattr(ops, op).__wrapped__, Window(3, 1)
    dy = to_device(np.ones((1, 1, 2, 2), np.float32))
    arguments = {
        "col2im": (to_device(np.ones((1, 3, 3, 1, 2, 2), np.float32)), (4, 4), window),
        "max_pool_backward": (dy, xp.zeros((1, 1, 2, 2), xp.uint8), (4, 4), window),
        "average_pool_backward": (dy, (4, 4), window),
    }[op]
    sound = "padded[pixels] += "
    assert planted(function, sound, sound)(*arguments).shape == (1, 1, 4, 4)
    line = next(line for line in inspect.getsource(function).splitlines() if sound in line)
    value = line.partition(sound)[2].partition("  #")[0]
    with pytest.raises(OrderError):
        planted(function, sound + value, f"xp.add.at(padded, pixels, {value})")(*arguments)


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    "mix",
    [
        lambda x: x + A,
        lambda x: A + x,
        lambda x: x * A[0, :1],
        lambda x: xp.maximum(x, A),
        lambda x: xp.exp(A),
        lambda x: x @ A.T,
        lambda x: A.T @ x,
        lambda x: x == A,
        lambda x: x.__iadd__(A),
        lambda x: x.__setitem__(0, A[0]),
        lambda x: x[np.array([0, 1])],
        lambda x: x.dot(A[0]),
        lambda x: xp.where(x > 1, A, x),
        lambda x: xp.concatenate([x, A]),
        lambda x: xp.add(x, x, out=np.empty_like(A)),
        lambda x: x + np.array(2.0),
        lambda x: xp.sum(A),
        lambda x: xp.zeros_like(A),
        lambda x: x.sum(out=np.zeros(())),
        lambda x: xp.ascontiguousarray(A),
        lambda x: xp.pad(A, 1),
    ],
)
def test_host_and_device_arrays_do_not_mix(mix):
    with pytest.raises(TypeError, match=r"numpy\.ndarray.*pass to_device"):
        mix(to_device(A.copy()))


@pytest.mark.parametrize(
    "listing",
    [
        lambda x: x * [1, 2, 3],
        lambda x: [1, 2, 3] * x,
        lambda x: xp.exp([1.0]),
        lambda x: xp.sum([1]),
        lambda x: x.__setitem__(0, [1, 2, 3]),
        lambda x: xp.ascontiguousarray([1]),
        lambda x: xp.pad([1], 1),
    ],
)
def test_lists_are_no_operands(listing):
    with pytest.raises(TypeError, match="list"):
        listing(to_device(A.copy()))


@pytest.mark.parametrize(
    "convert", [np.asarray, np.array, lambda x: np.zeros(6).__setitem__(slice(2), x[0, :2])]
)
def test_there_is_no_implicit_conversion(convert):
    with pytest.raises(TypeError, match=r"Implicit conversion.*to_host\(x\)"):
        convert(to_device(A))


def test_a_device_number_is_no_index():
    with pytest.raises(TypeError):
        range(to_device(np.array(3)))
    with pytest.raises(TypeError, match="unhashable"):
        hash(to_device(A))


@pytest.mark.parametrize("name", ["tofile_like", "sum_of", "to_numpy", "newbyteorder", "__index__"])
def test_attributes_that_cupy_lacks(name):
    with pytest.raises(AttributeError, match=name):
        getattr(to_device(A), name)


def test_attributes_that_only_a_gpu_has():
    with pytest.raises(
        AttributeError, match=r"cupy.ndarray.toDlpack exists, but the simulated device lacks it"
    ):
        to_device(A).toDlpack()


@pytest.mark.parametrize(
    "call",
    [
        lambda x: x.sum(where=x > 1),
        lambda x: x.mean(initial=0),
        lambda x: x.item(0),
        lambda x: x.max(0, None, True, 0),
        lambda x: x.astype(),
        lambda x: x.sort(1, None, None),
    ],
)
def test_arguments_that_cupys_methods_lack(call):
    with pytest.raises(TypeError):
        call(to_device(A))


def test_numpys_functions_compute_on_the_device_quietly_as_in_cupy():
    same(np.exp(to_device(A)), np.exp(A))
    same(np.sum(to_device(A), axis=0), A.sum(axis=0))
    same(np.concatenate([to_device(A), to_device(A)]), np.concatenate([A, A]))
    with pytest.raises(TypeError):
        np.add.reduce(to_device(A))


# ---------------------------------------------------------------- waiting and copying


@pytest.mark.parametrize(
    ("ask", "answer"),
    [
        (float, 2.5),
        (int, 2),
        (bool, True),
        (complex, 2.5 + 0j),
        (lambda x: x.item(), 2.5),
        (lambda x: x.tolist(), 2.5),
        (lambda x: f"{x:.2f}", "2.50"),
        (str, "2.5"),
        (repr, "array(2.5, dtype=float32)"),
        (lambda x: x.get(), 2.5),
        (lambda x: x.tobytes(), np.float32(2.5).tobytes()),
        (lambda x: [1, 2, 3] and (x > 0 and 1), 1),
    ],
)
def test_whoever_asks_for_a_value_waits(ask, answer):
    x = to_device(np.array(2.5, np.float32))
    with ledger() as counts:
        assert ask(x) == answer
    assert counts.synchronisations == counts.downloads == 1


def test_shapes_are_known_without_waiting():
    x = to_device(A)
    with ledger() as counts:
        described = (
            x.shape,
            x.ndim,
            x.size,
            x.dtype,
            x.nbytes,
            x.itemsize,
            len(x),
            x.strides,
            x.flags.owndata,
        )
    assert described == ((2, 3), 2, 6, np.float32, 24, 4, 2, (12, 4), True)
    assert not counts.entries


def test_set_copies_from_a_host_array_of_the_same_kind():
    x = to_device(np.zeros((2, 3), np.float32))
    x.set(A)
    same(x, A)
    with pytest.raises(TypeError, match=r"expected a numpy\.ndarray"):
        x.set(A.astype(np.float64))


def test_get_into_an_array():
    out = np.empty_like(A)
    assert to_device(A).get(out=out) is out
    np.testing.assert_array_equal(out, A)


def test_what_get_returns_is_a_copy():
    x = to_device(A.copy())
    x.get()[...] = 0
    same(x, A)


def test_upload_copies():
    host = A.copy()
    x = to_device(host)
    host[...] = 0
    same(x, A)


def test_copies_and_pickles():
    x = to_device(A.copy())
    for other in (copy.copy(x), copy.deepcopy(x), pickle.loads(pickle.dumps(x)), x.copy()):
        same(other, A)
        other[...] = 0
    same(x, A)


def test_a_hidden_copy_of_an_overlapping_operand_is_counted():
    x = to_device(np.arange(6.0))
    with ledger() as counts:
        xp.add(x[:-1], x[1:], out=x[1:])
    assert ("add: operand that overlaps out, copied") in {entry.call for entry in counts.entries}
    with ledger() as counts:
        xp.add(x, 1, out=x)
    assert counts.allocations == 0


def test_the_interface_that_tells_it_from_a_host_array():
    interface = to_device(A).__cuda_array_interface__
    assert (interface["shape"], interface["typestr"]) == ((2, 3), "<f4")
    assert to_device(A).data.ptr > 0
    assert type(to_device(A)).__module__ == "simulated"
    assert "sum" in dir(to_device(A))
