import ast
from pathlib import Path

import numpy as np
import pytest

import xpcnn
from xpcnn.backend import to_device, xp
from xpcnn.simulated import judge, ledger, ndarray

X = np.array([[1.5, -2.0, 3.0], [0.0, 5.0, -6.5]], np.float32)


@pytest.mark.parametrize("name", ["errstate", "nditer", "vecdot", "einsum_path", "asarray_of", "core"])
def test_names_that_cupy_lacks_do_not_exist(name):
    assert not hasattr(judge.cupy(), name)
    with pytest.raises(AttributeError, match=f"cupy.{name} does not exist: CuPy .* has no such name"):
        getattr(xp, name)


@pytest.mark.parametrize(
    "path", ["linalg.crossed", "lib.stride_tricks.sliding", "random.shuffled", "cuda.streams"]
)
def test_nor_in_submodules(path):
    module, _, name = path.rpartition(".")
    found = xp
    for part in module.split("."):
        found = getattr(found, part)
    with pytest.raises(AttributeError, match=f"cupy.{path} does not exist"):
        getattr(found, name)


@pytest.mark.parametrize("name", ["RawKernel", "ElementwiseKernel", "ReductionKernel", "fuse"])
def test_what_only_a_gpu_compiles_says_so(name):
    with pytest.raises(AttributeError, match="RawModule"):
        getattr(xp, name)


@pytest.mark.parametrize("name", ["poly1d", "clear_memo", "cuda.Graph", "random.gumbel"])
def test_what_is_not_simulated_says_so(name):
    with pytest.raises(AttributeError, match=f"cupy.{name} exists, but the simulated device lacks it"):
        eval(f"xp.{name}", {"xp": xp})


@pytest.mark.parametrize(
    "call",
    [
        lambda x: xp.sum(x, where=x > 0),
        lambda x: xp.mean(x, where=x > 0),
        lambda x: xp.max(x, initial=0.0),
        lambda x: xp.concatenate([x, x], axis=0, order="C"),
        lambda x: xp.zeros(3, like=x),
        lambda x: xp.arange(0, 3, like=x),
        lambda x: xp.take(x, 0, 0, None, "clip"),
        lambda x: xp.stack([x], axis=0, other=1),
        lambda x: xp.clip(x, 0, 1, where=x),
        lambda x: xp.sum(),
        lambda x: xp.matmul(x, x.T, where=x),
        lambda x: xp.linalg.norm(x, other=1),
    ],
)
def test_keywords_that_cupy_lacks_are_refused(call):
    with pytest.raises(TypeError):
        call(to_device(X))


@pytest.mark.parametrize("keyword", [{"where": True}, {"order": "C"}, {"subok": True}, {"signature": "f->f"}])
def test_ufuncs_take_out_dtype_and_casting_only(keyword):
    with pytest.raises(TypeError, match="CuPy has casting, dtype, out"):
        xp.exp(to_device(X), **keyword)
    with pytest.raises(TypeError, match="Wrong arguments"):
        np.exp(to_device(X), **keyword)
    out = xp.empty((2, 3), np.float64)
    assert xp.exp(to_device(X), out=out, casting="same_kind") is out
    assert xp.exp(to_device(X), dtype="float64").dtype == np.float64
    assert xp.maximum(to_device(X), 0, xp.empty((2, 3), np.float32)).shape == (2, 3)


@pytest.mark.parametrize(
    "function",
    [
        lambda m, x: m.maximum(x, 0),
        lambda m, x: m.where(x > 0, x, 0),
        lambda m, x: m.concatenate([x, x], axis=1),
        lambda m, x: m.pad(x, ((1, 0), (0, 2)), constant_values=-m.inf),
        lambda m, x: m.zeros_like(x, dtype="uint8", shape=(2,)),
        lambda m, x: m.argmax(x, axis=1),
        lambda m, x: m.full((2, 2), 3.0, dtype="float32"),
        lambda m, x: m.abs(x),
        lambda m, x: m.arange(3, dtype=m.uint64),
        lambda m, x: m.expand_dims(x, 0),
        lambda m, x: m.flip(x, 1),
        lambda m, x: m.einsum("ij->ji", x),
        lambda m, x: m.tensordot(x, x, axes=([1], [1])),
        lambda m, x: m.outer(x[0], x[1]),
        lambda m, x: m.linalg.norm(x),
        lambda m, x: m.mean(x, axis=0),
        lambda m, x: m.var(x),
        lambda m, x: m.roll(x, 1, 0),
        lambda m, x: m.sort(x, axis=1),
        lambda m, x: m.cumsum(x, axis=0),
        lambda m, x: m.stack([x, x]),
        lambda m, x: m.sinc(x),
        lambda m, x: m.ones(2),
        lambda m, x: m.eye(2, dtype=m.float32),
        lambda m, x: m.tile(x, 2),
        lambda m, x: m.isfinite(x),
        lambda m, x: m.moveaxis(x, 0, 1),
        lambda m, x: m.nan_to_num(x),
        lambda m, x: m.unique(x),
        lambda m, x: m.nonzero(x)[0],
        lambda m, x: m.matmul(x, x.T),
        lambda m, x: m.add.reduce(x),
        lambda m, x: m.multiply.accumulate(x),
        lambda m, x: m.copy(x),
        lambda m, x: m.meshgrid(x[0], x[1])[0],
        lambda m, x: m.bincount((x[0] > 0).astype(m.int64)),
    ],
)
def test_functions_compute_as_numpys(function):
    result, expected = function(xp, to_device(X)), function(np, X)
    assert isinstance(result, ndarray)
    assert (result.dtype, result.shape) == (expected.dtype, expected.shape)
    np.testing.assert_array_equal(result.get(), expected)


def test_constants_and_dtypes_are_numpys_own():
    assert xp.float32 is np.float32
    assert xp.dtype is np.dtype
    assert xp.newaxis is None
    assert (xp.pi, xp.inf) == (np.pi, np.inf)
    assert xp.finfo(xp.float32).eps == np.finfo(np.float32).eps
    assert xp.result_type(xp.float32, xp.int8) == np.float32
    assert xp.ndarray is ndarray


def test_answers_of_the_device_stay_there():
    x = to_device(X)
    for answer in (xp.array_equal(x, x), xp.allclose(x, x)):
        assert isinstance(answer, ndarray)
        assert bool(answer)
    assert xp.ndim(x) == 2
    assert xp.shares_memory(x, x[0]) is True


@pytest.mark.parametrize(
    "call", [lambda x: xp.maximum.reduce(x), lambda x: xp.maximum.accumulate(x), lambda x: xp.exp.at(x, 0)]
)
def test_reductions_of_ufuncs_that_cupy_lacks(call):
    with pytest.raises(NotImplementedError, match="not supported by CuPy"):
        call(to_device(X))


def test_ufunc_at_and_outer():
    x = to_device(np.zeros(3, np.int32))
    xp.add.at(x, to_device(np.array([0, 0])), 1)
    assert x.tolist() == [2, 0, 0]
    assert xp.multiply.outer(x, x).shape == (3, 3)
    assert repr(xp.add) == "<ufunc 'add' of the simulated device>"


@pytest.mark.parametrize("name", ["argwhere", "flatnonzero", "nonzero", "unique"])
def test_functions_whose_result_has_an_unknown_shape_wait(name):
    with ledger() as counts:
        getattr(xp, name)(to_device(X))
    assert counts.synchronisations == 1


def test_where_with_one_argument_waits_and_with_three_does_not():
    x = to_device(X)
    with ledger() as counts:
        xp.where(x > 0, x, 0)
    assert counts.synchronisations == 0
    with ledger() as counts:
        xp.where(x > 0)
    assert counts.synchronisations == 1


def names_of_xp():
    """Every ``xp.a.b`` that the package says, with its place."""
    package = Path(xpcnn.__file__).parent
    for file in sorted(package.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            path, inner = [], node
            while isinstance(inner, ast.Attribute):
                path.insert(0, inner.attr)
                inner = inner.value
            if path and isinstance(inner, ast.Name) and inner.id == "xp":
                yield ".".join(path), f"{file.relative_to(package)}:{node.lineno}"


def test_every_name_that_the_package_asks_of_xp_exists_in_cupy():
    used = dict(names_of_xp())
    assert len(used) > 20
    for path, place in used.items():
        try:
            judge.real(path)
        except AttributeError:
            pytest.fail(f"{place}: xp.{path} does not exist in CuPy")
