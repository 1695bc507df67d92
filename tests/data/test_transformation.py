"""Transforms that change images and targets together."""

import numpy as np
import pytest

from xpcnn.data import BatchLoader, Compose, Crop, Flip, Normalize, Paired, RandomAffine, Shift, batches
from xpcnn.data.transformation import takes_targets
from xpcnn.errors import DatasetError, ShapeError, XpcnnWarning
from xpcnn.layers import Conv, Sequential
from xpcnn.losses import SoftmaxCrossEntropy
from xpcnn.optimizers import SGD
from xpcnn.training import evaluate, predict, train

N, H, W = 40, 6, 5
MAPS = np.random.default_rng(0).integers(1, 5, (N, H, W))
IMAGES = (MAPS[:, None] * 40).astype(np.uint8)  # every pixel tells its class


def read_off(images):
    """The classes that the images show; 0 where nothing is."""
    return np.rint(images[:, 0] * 255 / 40).astype(int)


def both_with_rng(images, targets, rng):
    flip = rng.random(len(images)) < 0.5
    images, targets = images.copy(), targets.copy()
    images[flip], targets[flip] = images[flip][..., ::-1], targets[flip][..., ::-1]
    return images, targets


def both(images, targets):
    return images[..., ::-1], targets[..., ::-1]


TRANSFORMS = [
    Paired(Flip()), Paired(Crop(3)), Paired(Shift(2)), Paired(Compose(Crop(2), Flip()), Shift(1)), both, both_with_rng,
    Compose(Paired(Flip()), both), Paired(both_with_rng, Flip()), Compose(both_with_rng, Paired(Crop(1))),
]  # fmt: skip


@pytest.mark.parametrize("transform", TRANSFORMS, ids=range(len(TRANSFORMS)))
@pytest.mark.parametrize("maps", [MAPS, MAPS[:, None], MAPS.astype(np.uint8)], ids=["NHW", "N1HW", "uint8"])
def test_maps_move_with_their_images(transform, maps):
    for images, targets in batches(IMAGES, maps, 7, np.random.default_rng(0), transform):
        assert targets.dtype == maps.dtype
        assert targets.shape[1:] == maps.shape[1:]
        np.testing.assert_array_equal(targets.reshape(read_off(images).shape), read_off(images))
    ((images, _),) = batches(IMAGES, MAPS, N, np.random.default_rng(0))
    ((changed, _),) = batches(IMAGES, maps, N, np.random.default_rng(0), transform)
    assert not np.array_equal(images, changed)


@pytest.mark.parametrize("transform", TRANSFORMS[:4], ids=repr)
def test_images_are_those_of_the_transform_alone(transform):
    """Targets take no numbers out of the generator."""
    ours, theirs = np.random.default_rng(3), np.random.default_rng(3)
    images = IMAGES.astype(np.float32)
    paired, _ = transform(images, MAPS, ours)
    np.testing.assert_array_equal(paired, Compose(*transform.transforms)(images, theirs))
    assert ours.bit_generator.state == theirs.bit_generator.state


def test_what_comes_in_from_outside_is_filled():
    images, targets = Paired(Shift(3), fill=255)(IMAGES / np.float32(255), MAPS, np.random.default_rng(0))
    shown = read_off(images)
    assert (shown == 0).any()
    np.testing.assert_array_equal(targets, np.where(shown == 0, 255, shown))


def test_float_maps_are_interpolated_as_the_images_are_and_classes_are_not():
    heights = IMAGES.astype(np.float32)
    transform = Paired(RandomAffine(20, 0.1, 1), Normalize(100.0, 50.0))
    images, targets = transform(heights, heights[:, 0], np.random.default_rng(0))
    np.testing.assert_allclose(
        images, (targets[:, None] - 100) / 50, rtol=1e-6
    )  # the targets are not normalized
    with pytest.raises(TypeError, match="expected floating images, got int64"):
        transform(heights, MAPS, np.random.default_rng(0))


def test_a_loader_changes_both_too():
    plain, loaded = (batches(IMAGES, MAPS, 7, np.random.default_rng(0), Paired(Crop(2))) for _ in range(2))
    for (x, y), (a, b) in zip(BatchLoader(loaded), plain, strict=True):
        np.testing.assert_array_equal(x, a)
        np.testing.assert_array_equal(y, b)


def test_kinds_are_told_apart():
    for transform in TRANSFORMS:
        assert takes_targets(transform)
    for transform in (
        None,
        Flip(),
        Compose(Crop(2), Flip()),
        lambda x, rng: x,
        lambda x, generator=None: x,
        np.negative,
    ):
        assert not takes_targets(transform)
    assert takes_targets(lambda images, labels: (images, labels))
    assert takes_targets(lambda a, b, c: (a, b))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Paired(lambda x, rng: x), DatasetError, r"function of \(images, targets, rng\)"),
        (lambda: Paired(Flip(), fill="255"), DatasetError, "fill"),
        (lambda: Paired(Flip())(IMAGES / 255, MAPS[:, 0, 0], np.random.default_rng(0)), ShapeError,
         "targets that are maps"),
        (lambda: Paired(Flip())(IMAGES / 255, MAPS[:, ::2], np.random.default_rng(0)), ShapeError, r"size \(6, 5\)"),
        (lambda: Paired(Crop(1), fill=-1)(IMAGES / 255, MAPS.astype(np.uint8), np.random.default_rng(0)), DatasetError,
         "uint8 cannot hold fill=-1"),
        (lambda: Paired(Flip())(IMAGES / 255, MAPS, None), DatasetError, "draws at random"),
        (lambda: list(batches(IMAGES, MAPS, 9, None, lambda images, targets: images)), DatasetError, "return both"),
        (lambda: Compose(Paired(Flip()))(IMAGES, np.random.default_rng(0)), DatasetError, "needs targets"),
    ],
)  # fmt: skip
def test_misuse_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def network():
    return Sequential(Conv(1, 5, 1, rng=0))


def test_training_learns_from_what_moved():
    """A network of 1 x 1 can tell the class of a pixel only if both have moved alike."""

    def losses(transform, criterion):
        model = network()
        return [loss for _, loss in train(
            model, criterion, SGD(model.parameters(), 1.0), (IMAGES, MAPS), epochs=60, batch_size=10, rng=0,
            transform=transform,
        )]  # fmt: skip

    plain = losses(None, SoftmaxCrossEntropy(axis=1))[-1]
    assert losses(Paired(Flip(), fill=0), SoftmaxCrossEntropy(axis=1))[-1] < 1.2 * plain
    with pytest.warns(XpcnnWarning, match=r"Flip\(0.5\) moves the pixels .*; pass Paired\(Flip\(0.5\)\)"):
        assert (
            losses(Flip(), SoftmaxCrossEntropy(axis=1))[-1] > 1.4 * plain
        )  # what happened in silence before
    ignoring = losses(Paired(Crop(2), fill=255), SoftmaxCrossEntropy(axis=1, ignore_index=255))
    assert ignoring[-1] < 1.3 * plain


@pytest.mark.parametrize("transform", [Flip(), Compose(Normalize(0.5, 0.5), Crop(1))], ids=repr)
def test_maps_that_would_stay_behind_are_warned_of(transform):
    images = IMAGES / np.float32(255)
    for targets in (MAPS, images):
        with pytest.warns(XpcnnWarning, match=r"moves the pixels of the images, and not .*pass Paired"):
            batches(images, targets, 7, np.random.default_rng(0), transform)
    batches(images, MAPS, 7, None, Normalize(0.5, 0.5))  # silent: nothing moves
    batches(images, MAPS[:, 0, 0], 7, None, transform)  # nor is there a map


@pytest.mark.parametrize("transform", [Paired(Flip()), both, Compose(Flip(), both_with_rng)], ids=range(3))
def test_where_nothing_is_trained_targets_stay(transform):
    with pytest.raises(DatasetError, match="evaluate: expected a transform of the images alone"):
        evaluate(network(), (IMAGES, MAPS), transform=transform)
    with pytest.raises(DatasetError, match="predict: expected a transform of the images alone"):
        predict(network(), IMAGES, transform=transform)
