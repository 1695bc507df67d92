import numpy as np
import pytest

from xpcnn.backend import to_device, xp
from xpcnn.simulated import ledger

X = np.arange(6, dtype=np.float32).reshape(2, 3)


def test_asarray_uploads_what_is_of_the_host_and_nothing_else():
    with ledger() as counts:
        x = xp.asarray(X)
        assert xp.asarray(x) is x
        assert xp.asarray(x, np.float32) is x
    assert counts.uploads == 1
    with ledger() as counts:
        assert xp.asarray(x, np.int64).dtype == np.int64
        assert xp.asarray([1, 2]).tolist() == [1, 2]
        assert xp.array(3.0, ndmin=2).shape == (1, 1)
        assert xp.array(x) is not x
    assert counts.uploads == 2


def test_asarray_refuses_lists_of_device_arrays_and_strings():
    with pytest.raises(TypeError, match=r"use xp\.stack"):
        xp.asarray([xp.asarray(X), xp.asarray(X)])
    with pytest.raises(ValueError, match="Unsupported dtype"):
        xp.asarray(["a"])


def test_upload_keeps_fortran_order_and_nothing_stranger():
    assert xp.asarray(X.T).flags.f_contiguous
    assert xp.asarray(X[:, ::2]).flags.c_contiguous
    assert xp.asarray(X.T, order="C").flags.c_contiguous


def test_asnumpy_and_get_array_module():
    x = xp.asarray(X)
    np.testing.assert_array_equal(xp.asnumpy(x), X)
    assert xp.asnumpy(X) is X
    assert xp.get_array_module(X) is np
    assert xp.get_array_module(X, x).asarray is xp.asarray
    assert xp.is_available() is True


@pytest.mark.parametrize(
    ("dtype", "poison"),
    [
        ("float32", np.nan),
        ("float16", np.nan),
        ("float64", np.nan),
        ("uint8", 255),
        ("int64", -1),
        ("uint64", 2**64 - 1),
        ("bool", True),
    ],
)
def test_empty_is_poisoned(dtype, poison):
    for made in (
        xp.empty((2, 3), dtype),
        xp.empty_like(xp.zeros((2, 3), dtype)),
        xp.empty_like(xp.asarray(X), dtype),
    ):
        assert made.dtype == dtype
        np.testing.assert_array_equal(made.get(), np.full((2, 3), poison, dtype))


def test_empty_without_elements():
    assert xp.empty((0, 3), np.float32).shape == (0, 3)


def test_ascontiguousarray():
    x = xp.asarray(X)
    assert xp.ascontiguousarray(x) is x
    assert xp.ascontiguousarray(x.T).flags.c_contiguous


@pytest.mark.parametrize("keyword", [{"out": None}, {"order": "C"}, {"casting": "safe"}])
def test_einsum_knows_dtype_and_optimize_only(keyword):
    x = to_device(X)
    with pytest.raises(TypeError, match=r"einsum.*CuPy has dtype, optimize"):
        xp.einsum("ij->ji", x, **keyword)
    assert xp.einsum("ij,ij->", x, x, optimize=True).shape == ()
    with pytest.raises(TypeError, match="pass to_device"):
        xp.einsum("ij,ij->", x, X)


def test_pad_knows_cupys_modes_and_their_keywords():
    x = to_device(X)
    with pytest.raises(ValueError, match="mode 'median' is not supported by CuPy"):
        xp.pad(x, 1, mode="median")
    with pytest.raises(ValueError, match="unsupported keyword arguments for mode 'edge'"):
        xp.pad(x, 1, mode="edge", constant_values=0)
    with pytest.raises(TypeError, match=r"you cannot specify cupy\.ndarray"):
        xp.pad(x, 1, constant_values=x[0, 0])
    np.testing.assert_array_equal(xp.pad(x, 1, mode="edge").get(), np.pad(X, 1, mode="edge"))


def test_meshgrid_refuses_unknown_keywords():
    with pytest.raises(TypeError, match="unexpected keyword"):
        xp.meshgrid(to_device(X[0]), order="C")


def test_sliding_windows_are_views():
    x = to_device(X)
    with ledger() as counts:
        windows = xp.lib.stride_tricks.sliding_window_view(x, 2, axis=1)
    assert windows.shape == (2, 2, 2)
    assert not counts.entries


@pytest.mark.parametrize(("shape", "strides"), [((7,), (4,)), ((2, 4), (12, 4)), ((2,), (-4,))])
def test_as_strided_within_bounds(shape, strides):
    with pytest.raises(ValueError, match="reaches beyond the array"):
        xp.lib.stride_tricks.as_strided(to_device(X), shape, strides)
    assert xp.lib.stride_tricks.as_strided(to_device(X), (6,), (4,)).shape == (6,)
    assert xp.lib.stride_tricks.as_strided(to_device(X)).shape == (2, 3)
