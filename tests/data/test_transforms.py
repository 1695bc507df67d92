import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xpcnn.data import Compose, Crop, Flip, Normalize, RandomAffine, Shift
from xpcnn.data.transforms import affine
from xpcnn.errors import DatasetError, DtypeError, ShapeError

RANDOM = [Shift(2), Crop(3), Flip(0.5), RandomAffine(20, 0.2, 2)]
ALL = [*RANDOM, Normalize(0.5, 0.25), Compose(Crop(2), Flip(), Normalize([0.1, 0.2, 0.3], 2.0))]


def pictures(N=6, C=3, H=7, W=5, dtype=np.float32):
    """Every pixel different and none zero, so that a zero is one that came in."""
    return (np.arange(N * C * H * W).reshape(N, C, H, W) + 1).astype(dtype)


@pytest.mark.parametrize("transform", ALL, ids=repr)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_contract_of_every_transform(transform, dtype):
    images = pictures(dtype=dtype)
    before = images.copy()
    images.flags.writeable = False  # writing into it would raise
    result = transform(images, np.random.default_rng(5))
    assert result.shape == images.shape
    assert result.dtype == dtype
    assert result.flags.c_contiguous
    assert not np.shares_memory(result, images)
    np.testing.assert_array_equal(images, before)
    np.testing.assert_array_equal(result, transform(images, np.random.default_rng(5)))


@pytest.mark.parametrize("transform", RANDOM, ids=repr)
def test_each_image_gets_its_own_draw_and_each_batch_another(transform):
    same = np.repeat(pictures(N=1), 50, axis=0)
    rng = np.random.default_rng(0)
    first, second = transform(same, rng), transform(same, rng)
    assert any(not np.array_equal(first[0], other) for other in first[1:])
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("transform", RANDOM, ids=repr)
def test_without_a_generator_the_fix_is_named(transform):
    with pytest.raises(DatasetError, match=r"pass rng=np.random.default_rng\(seed\)"):
        transform(pictures(), None)


@pytest.mark.parametrize("transform", ALL, ids=repr)
def test_three_axes_are_refused(transform):
    with pytest.raises(ShapeError, match=r"expected images \(N, C, H, W\), got \(3, 7, 5\)"):
        transform(pictures()[0], np.random.default_rng(0))


@pytest.mark.parametrize("transform", ALL, ids=repr)
def test_no_images_give_no_images(transform):
    assert transform(pictures()[:0], np.random.default_rng(0)).shape == (0, 3, 7, 5)


def moved(image, down, right):
    """Oracle: one image (C, H, W) moved by whole pixels, zeros coming in, pixel by pixel."""
    C, H, W = image.shape
    result = np.zeros_like(image)
    for c in range(C):
        for i in range(H):
            for j in range(W):
                if 0 <= i - down < H and 0 <= j - right < W:
                    result[c, i, j] = image[c, i - down, j - right]
    return result


@pytest.mark.parametrize("transform", [Shift(2), Crop(2)], ids=repr)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_shift_and_crop_move_by_every_step_and_by_no_other(transform, dtype):
    image = pictures(N=1, C=2, H=4, W=5, dtype=dtype)
    steps = {
        moved(image[0], down, right).tobytes(): (down, right)
        for down in range(-2, 3)
        for right in range(-2, 3)
    }
    assert len(steps) == 25
    results = transform(np.repeat(image, 2000, axis=0), np.random.default_rng(0))
    counts = dict.fromkeys(steps.values(), 0)
    for result in results:
        counts[steps[result.tobytes()]] += 1  # KeyError: moved in some other way
    assert min(counts.values()) > 40  # 80 expected of each


def test_a_shift_of_zero_changes_nothing():
    np.testing.assert_array_equal(Shift(0)(pictures(), np.random.default_rng(0)), pictures())


@pytest.mark.parametrize(("p", "low", "high"), [(0.0, 0, 0), (0.25, 200, 300), (1.0, 1000, 1000)])
def test_flip_mirrors_left_and_right_as_often_as_asked(p, low, high):
    images = pictures(N=1000, C=1, H=2, W=3)
    flipped = 0
    for before, after in zip(images, Flip(p)(images, np.random.default_rng(0)), strict=True):
        mirror = [[row[::-1] for row in channel] for channel in before.tolist()]
        assert after.tolist() in (before.tolist(), mirror)
        flipped += after.tolist() == mirror
    assert low <= flipped <= high


def test_normalize_is_per_channel():
    images = pictures(dtype=np.float64)
    result = Normalize([1.0, 2.0, 3.0], [4.0, 5.0, 6.0])(images)
    for (n, c, i, j), x in np.ndenumerate(images):
        assert result[n, c, i, j] == (x - [1.0, 2.0, 3.0][c]) / [4.0, 5.0, 6.0][c]


def test_normalize_refuses_what_does_not_fit():
    with pytest.raises(ShapeError, match="expected 1 or 3 numbers for 3 channels"):
        Normalize([0.0, 1.0], 1.0)(pictures())
    with pytest.raises(DtypeError, match=r"got uint8; convert with images / 255"):
        Normalize(0.0, 1.0)(pictures(dtype=np.uint8))
    for std in (0.0, -1.0, [1.0, 0.0], math.nan):
        with pytest.raises(DatasetError, match="std above 0"):
            Normalize(0.0, std)


def affine_loops(image, angle, factor, shift):
    """Oracle: bilinear reading of one image (C, H, W), pixel by pixel, zeros outside."""
    C, H, W = image.shape
    result = np.zeros_like(image)

    def at(c, i, j):
        return image[c, i, j] if 0 <= i < H and 0 <= j < W else 0.0

    for i in range(H):
        for j in range(W):
            # right-handed coordinates from the centre: x right, y up
            x, y = j - (W - 1) / 2 - shift[1], -(i - (H - 1) / 2 - shift[0])
            back_x = (math.cos(-angle) * x - math.sin(-angle) * y) / factor
            back_y = (math.sin(-angle) * x + math.cos(-angle) * y) / factor
            column, row = back_x + (W - 1) / 2, -back_y + (H - 1) / 2
            left, top = math.floor(column), math.floor(row)
            a, b = row - top, column - left
            for c in range(C):
                result[c, i, j] = (
                    (1 - a) * (1 - b) * at(c, top, left)
                    + (1 - a) * b * at(c, top, left + 1)
                    + a * (1 - b) * at(c, top + 1, left)
                    + a * b * at(c, top + 1, left + 1)
                )
    return result


@given(
    angle=st.floats(-4, 4),
    factor=st.floats(0.3, 3),
    down=st.floats(-9, 9),
    right=st.floats(-9, 9),
    seed=st.integers(0, 99),
)
def test_affine_reads_between_four_neighbours(angle, factor, down, right, seed):
    images = np.random.default_rng(seed).random((2, 2, 5, 4))
    angles, factors = np.array([angle, 0.1]), np.array([factor, 1.1])
    shifts = np.array([[down, right], [0.5, -0.25]])
    result = affine(images, angles, factors, shifts)
    for n in range(2):
        np.testing.assert_allclose(
            result[n], affine_loops(images[n], angles[n], factors[n], shifts[n]), atol=1e-9
        )


def test_a_quarter_turn_is_counter_clockwise_and_a_whole_shift_exact():
    images = pictures(N=1, C=1, H=4, W=4, dtype=np.float64)
    turned = affine(images, np.array([math.pi / 2]), np.ones(1), np.zeros((1, 2)))
    np.testing.assert_allclose(turned[0, 0], np.rot90(images[0, 0]), atol=1e-9)
    shifted = affine(images, np.zeros(1), np.ones(1), np.array([[1.0, -2.0]]))
    np.testing.assert_array_equal(shifted[0], moved(images[0], 1, -2))


def test_random_affine_stays_within_what_was_asked_for():
    images = np.zeros((500, 1, 21, 21))
    images[:, 0, 10, 14] = 1.0  # a point, 4 to the right of the centre
    i, j = np.mgrid[:21, :21] - 10
    points = RandomAffine(30)(images, np.random.default_rng(0))[:, 0]
    weight = points.sum(axis=(1, 2))
    angle = np.degrees(
        np.arctan2(-(points * i).sum(axis=(1, 2)) / weight, (points * j).sum(axis=(1, 2)) / weight)
    )
    assert np.abs(angle).max() < 32  # bilinear reading moves the centre of mass a little
    assert angle.min() < -25
    assert angle.max() > 25

    images = np.ones((500, 1, 41, 41))
    images[:, :, :10] = images[:, :, -10:] = images[..., :10] = images[..., -10:] = 0  # a square of 21
    area = RandomAffine(0, scale=0.2)(images, np.random.default_rng(0)).sum(axis=(1, 2, 3)) / 21**2
    assert 0.8**2 * 0.9 < area.min() < 0.7
    assert 1.38 < area.max() < 1.2**2 * 1.1

    points = RandomAffine(0, shift=3)(images, np.random.default_rng(0))[:, 0]
    i, j = np.mgrid[:41, :41] - 20
    for axis in (i, j):
        offset = (points * axis).sum(axis=(1, 2)) / points.sum(axis=(1, 2))
        assert -3.01 < offset.min() < -2.8
        assert 2.8 < offset.max() < 3.01


def test_random_affine_of_nothing_changes_nothing():
    np.testing.assert_array_equal(RandomAffine(0)(pictures(), np.random.default_rng(0)), pictures())


def test_random_affine_refuses_integers():
    with pytest.raises(DtypeError, match="expected floating images, got uint8"):
        RandomAffine(5)(pictures(dtype=np.uint8), np.random.default_rng(0))


def test_compose_applies_in_order_with_one_generator():
    images = pictures()
    rng = np.random.default_rng(4)
    expected = Normalize(1.0, 2.0)(Flip()(Crop(2)(images, rng), rng), rng)
    result = Compose(Crop(2), Flip(), Normalize(1.0, 2.0))(images, np.random.default_rng(4))
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("transform", [*ALL, Compose()], ids=repr)
def test_a_repr_builds_the_same_again(transform):
    again = eval(repr(transform))
    assert repr(again) == repr(transform)
    images = pictures()
    expected = transform(images, np.random.default_rng(1))
    np.testing.assert_array_equal(again(images, np.random.default_rng(1)), expected)


def test_senseless_arguments_are_refused():
    for build, message in (
        (lambda: Shift(-1), "at least 0"),
        (lambda: Crop(-1), "at least 0"),
        (lambda: RandomAffine(-1), "expected 0 <= degrees"),
        (lambda: RandomAffine(1, shift=-1), "expected 0 <= shift"),
        (lambda: RandomAffine(1, -0.1), "expected 0 <= scale < 1, got -0.1"),
        (lambda: RandomAffine(1, 1.0), "expected 0 <= scale < 1, got 1.0"),
        (lambda: Flip(2), "expected 0 <= p <= 1, got 2"),
    ):
        with pytest.raises(DatasetError, match=message):
            build()
