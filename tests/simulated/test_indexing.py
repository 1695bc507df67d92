import numpy as np
import pytest

from xpcnn.backend import to_device, xp
from xpcnn.simulated import ledger, ndarray

X = np.arange(12, dtype=np.float32).reshape(3, 4)
DEVICE_INDEX = [2, 0]


@pytest.mark.parametrize(
    "key", [0, -1, (1, 2), slice(1, None), (..., 1), (None, 0), (slice(None), slice(None, None, -2))]
)
def test_basic_subscripts_are_views(key):
    x = to_device(X.copy())
    view = x[key]
    assert isinstance(view, ndarray)
    np.testing.assert_array_equal(view.get(), X[key])
    view[...] = -1
    expected = X.copy()
    expected[key] = -1
    np.testing.assert_array_equal(x.get(), expected)


@pytest.mark.parametrize(
    "key",
    [
        lambda i: i,
        lambda i: (slice(None), i),
        lambda i: (i, i),
        lambda i: (i[:, None], i),
        lambda i: (i, slice(1, 3)),
    ],
)
def test_arrays_as_subscripts_copy_into_c_order(key):
    index = np.array(DEVICE_INDEX)
    result = to_device(X)[key(to_device(index))]
    np.testing.assert_array_equal(result.get(), X[key(index)])
    assert result.flags.c_contiguous


@pytest.mark.parametrize("wrong", [3, -4, 100])
@pytest.mark.parametrize(
    "use",
    [
        lambda x, i: x[i],
        lambda x, i: x.__setitem__(i, 0.0),
        lambda x, i: x.take(i, axis=0),
        lambda x, i: xp.take_along_axis(x, i[:, None], axis=0),
        lambda x, i: xp.take(x, i, axis=0),
        lambda x, i: x.put(i * 100, 1.0),
    ],
)
def test_an_index_out_of_range_is_refused_which_cupy_would_wrap(use, wrong):
    with pytest.raises(IndexError, match="CuPy would wrap it around silently"):
        use(to_device(X.copy()), to_device(np.array([wrong])))


def test_an_integer_out_of_range_is_refused_by_both():
    with pytest.raises(IndexError):
        to_device(X)[3]


@pytest.mark.parametrize("index", [[0, 0], [1, -2], [[0, 1], [1, 2]]])
@pytest.mark.parametrize("value", [1.0, None])
def test_an_index_that_comes_twice_in_an_assignment_is_refused(index, value):
    x = to_device(X.copy())
    with pytest.raises(ValueError, match=r"comes twice.*gather what belongs to an element"):
        x[to_device(np.array(index))] = x[to_device(np.array(index))] if value is None else value


def test_twice_over_several_axes():
    x, index = to_device(X.copy()), to_device(np.array([1, 1]))
    x[index, to_device(np.array([0, 1]))] = 5.0  # different elements
    with pytest.raises(ValueError, match="comes twice"):
        x[index, index] = 5.0
    with pytest.raises(ValueError, match="comes twice"):
        x.put(index, 1.0)
    with pytest.raises(ValueError, match="comes twice"):
        xp.put_along_axis(x, to_device(np.array([[0, 0]])), 1.0, axis=1)


def test_assignment_to_different_places_works():
    x = to_device(X.copy())
    x[to_device(np.array(DEVICE_INDEX))] = to_device(-X[:2])
    expected = X.copy()
    expected[DEVICE_INDEX] = -X[:2]
    np.testing.assert_array_equal(x.get(), expected)


def test_a_boolean_mask_waits_and_a_list_is_uploaded():
    x = to_device(X.copy())
    with ledger() as counts:
        picked = x[x > 5]
    np.testing.assert_array_equal(picked.get(), X[X > 5])
    assert counts.calls("synchronisation").keys() == {
        ("getitem with a boolean mask", next(iter(counts.entries)).site)
    }
    with ledger() as counts:
        x[x > 5] = 0.0
    assert counts.synchronisations == 1
    with ledger() as counts:
        x[[0, 1]]
    assert counts.uploads == 1


def test_an_in_place_sum_of_a_part_is_one_launch():
    x = to_device(X.copy())
    with ledger() as counts:
        x[1:] += 1
    assert counts.launches == 1
    with ledger() as counts:
        x[1:] = x[1:] + 1
    assert counts.launches == 2


@pytest.mark.parametrize(
    "view",
    [
        lambda x: xp.lib.stride_tricks.sliding_window_view(x, (2, 2)),
        lambda x: xp.broadcast_to(x, (2, 3, 4)),
        lambda x: xp.lib.stride_tricks.as_strided(x, (2, 2), (16, 4)),
    ],
)
def test_views_where_one_element_stands_for_many_are_read_only(view):
    windows = view(to_device(X.copy()))
    with pytest.raises(ValueError, match="read-only; it is a view made by stride tricks"):
        windows[0] = 1
    with pytest.raises(ValueError, match="read-only"):
        windows += 1


def test_iteration_yields_views():
    x = to_device(X.copy())
    for row in x:
        row[...] = 1
    assert float(x.sum()) == 12
