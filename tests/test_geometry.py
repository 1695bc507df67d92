"""Window against windows that are laid down one by one."""

import dataclasses
import math
import pickle
import re

import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st
from strategies import image_cases, pairs, windows

from xpcnn.errors import ShapeError
from xpcnn.geometry import Window, pair

sizes = pairs(st.integers(1, 12))


@given(windows(), sizes, st.sampled_from(("floor", "ceil", "exact")))
def test_output_size_counts_the_windows(window, image_size, rounding):
    window = window | {"rounding": rounding}
    try:
        rows, columns = reference.positions(image_size, window)
    except ValueError:
        with pytest.raises(ShapeError):
            Window(**window).output_size(*image_size)
    else:
        assert Window(**window).output_size(*image_size) == (len(rows), len(columns))


@given(image_cases())
def test_borders_hold_every_window_and_nothing_more_than_padding_and_overhang(case):
    (_, _, *image_size), window = case
    ours = Window(**window)
    for axis, first in enumerate(reference.positions(image_size, window)):
        before, after = ours.borders(*image_size)[axis]
        last = first[-1] + (window["size"][axis] - 1) * window["dilation"][axis]
        assert first[0] == -before
        assert last < image_size[axis] + after
        padding = ours.pads(*image_size)[axis]
        assert (before, after) == (padding[0], max(padding[1], last - image_size[axis] + 1))
        if window["padding"] != "same":
            assert padding == window["padding"][axis]


@given(image_cases())
def test_taps_meet_the_pixels_of_every_window(case):
    (_, _, H, W), window = case
    ours = Window(**window)
    (top, bottom), (left, right) = ours.borders(H, W)
    rows, columns = np.ogrid[-top : H + bottom, -left : W + right]
    taps = list(ours.taps(*ours.output_size(H, W)))
    assert [tap for tap, _ in taps] == list(np.ndindex(*window["size"]))
    first_rows, first_columns = map(np.array, reference.positions((H, W), window))
    for (i, j), pixels in taps:
        wanted_rows = first_rows + i * window["dilation"][0]
        wanted_columns = first_columns + j * window["dilation"][1]
        assert np.array_equal((rows + 0 * columns)[pixels], wanted_rows[:, None] + 0 * wanted_columns)
        assert np.array_equal((columns + 0 * rows)[pixels], wanted_columns + 0 * wanted_rows[:, None])


@given(windows(), sizes)
def test_same_gives_ceil_of_length_over_stride(window, image_size):
    same = Window(**window | {"padding": "same"})
    assert same.output_size(*image_size) == tuple(
        math.ceil(length / stride) for length, stride in zip(image_size, same.stride, strict=True)
    )
    assert all(0 <= after - before <= 1 for before, after in same.pads(*image_size))


def test_the_last_window_of_ceil_begins_inside_the_image_or_the_padding_before_it():
    # 5 pixels and 1 of padding on each side: windows of 2 at -1, 2, and one at 5 that would see padding only.
    assert Window(2, 3, 1, rounding="ceil").output_size(5, 5) == (2, 2)
    assert Window(2, 3, 1, rounding="ceil").output_size(6, 6) == (3, 3)
    assert Window(2, 3, 1, rounding="floor").output_size(6, 6) == (3, 3)
    assert Window(3, 3, rounding="ceil").output_size(7, 7) == (3, 3)
    assert Window(3, 3, rounding="floor").output_size(7, 7) == (2, 2)


@pytest.mark.parametrize("rounding", ["floor", "ceil"])
def test_pytorch_counts_the_same_pools(torch, rounding):
    for length, size, stride, padding in np.ndindex(8, 4, 5, 3):
        length, size, stride = length + 1, size + 1, stride + 1
        if padding * 2 > size or length + 2 * padding < size:
            continue
        image = torch.zeros(1, 1, length, length)
        theirs = torch.nn.functional.max_pool2d(image, size, stride, padding, ceil_mode=rounding == "ceil")
        ours = Window(size, stride, padding, rounding=rounding).output_size(length, length)
        assert ours == tuple(theirs.shape[2:]), (length, size, stride, padding)


@pytest.mark.parametrize(
    ("short", "long"),
    [
        (2, ((2, 2), (2, 2))),
        ((1, 2), ((1, 1), (2, 2))),
        ([1, 2], ((1, 1), (2, 2))),
        (((1, 2), (3, 0)), ((1, 2), (3, 0))),
        ([[1, 2], [3, 0]], ((1, 2), (3, 0))),
        ("valid", ((0, 0), (0, 0))),
        (np.int64(1), ((1, 1), (1, 1))),
        ("same", "same"),
    ],
)
def test_padding_has_short_forms(short, long):
    assert Window(3, padding=short).padding == long


def test_an_int_stands_for_height_and_width():
    assert Window(3, 2, dilation=(1, 2)) == Window((3, 3), (2, 2), dilation=[1, 2])
    assert Window(3) != Window(4)
    assert len({Window(3), Window((3, 3))}) == 1
    assert pair(np.int32(2), "stride") == (2, 2)
    assert all(type(number) is int for number in pair(np.int32(2), "stride"))


@pytest.mark.parametrize("name", ["size", "stride", "dilation"])
@pytest.mark.parametrize("value", [0, -1, 1.0, "3", (1, 2, 3), (1,), (0, 1), None, True])
def test_sizes_that_cannot_be(name, value):
    shown = {"size": "kernel_size"}.get(name, name)
    with pytest.raises(
        ShapeError, match=rf"{shown}: expected an int or a \(height, width\) of at least 1, got "
    ):
        Window(**{"size": 3} | {name: value})


@pytest.mark.parametrize(
    "value",
    [-1, (0, -1), ((1, 2), 3), ((1, 2), (3, -1)), ((1, 2, 3), (1, 2)), (1, 2, 3), "full", 0.5, None, ()],
)
def test_padding_that_cannot_be(value):
    with pytest.raises(ShapeError, match=r"padding: expected .* got .*; pass padding=0 for none"):
        Window(3, padding=value)


def test_rounding_that_cannot_be():
    with pytest.raises(ShapeError, match="rounding: expected 'floor', 'ceil' or 'exact', got 'round'"):
        Window(3, rounding="round")


def test_a_window_that_fits_nowhere_says_what_would_fit():
    window = Window((3, 5), dilation=2)
    with pytest.raises(
        ShapeError, match=r"window 3x5, dilation \(2, 2\): expected a width of at least 9, got 8; pass a"
    ):
        window.output_size(5, 8)
    assert window.output_size(5, 9) == (1, 1)
    with pytest.raises(ShapeError, match="expected a height of at least 1, got 0"):
        Window(1, padding=1).output_size(0, 4)


def test_exact_says_what_would_divide():
    window = Window(3, 2, rounding="exact")
    with pytest.raises(
        ShapeError, match=r"stride 2 does not divide 8 \+ 0 \+ 0 - 3 = 5 \(width\); .* makes up 1"
    ):
        window.output_size(7, 8)
    assert window.output_size(7, 9) == (3, 4)
    assert Window(3, 2, ((0, 0), (0, 1)), rounding="exact").output_size(7, 8) == (3, 4)
    assert Window(3, 2, "same", rounding="exact").output_size(7, 8) == (4, 4)


def test_what_a_window_remembers_belongs_to_it_alone():
    """Sizes are computed once; an error still names the layer that asks, and another window has sizes of its own."""
    window = Window(5, padding="same")
    assert window.output_size(8, 9) == (8, 9)
    assert window.borders(8, 9) == ((2, 2), (2, 2))
    other = dataclasses.replace(window, padding=0, dilation=2)
    assert (other.extent, other.output_size(9, 9)) == ((9, 9), (1, 1))
    twin = pickle.loads(pickle.dumps(window))
    assert (twin, hash(twin), twin.extent, twin.output_size(8, 9)) == (window, hash(window), (5, 5), (8, 9))
    for who in ("one layer", "another layer", None):
        with pytest.raises(
            ShapeError, match=f"^{who or re.escape(str(other))}: expected a height of at least 9"
        ):
            other.output_size(8, 9, who)
