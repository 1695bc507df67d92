import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xpcnn.data import batches, check_labels
from xpcnn.errors import DatasetError, DtypeError


def numbered(N):
    """Images that tell their own index."""
    images = np.zeros((N, 1, 2, 2), np.uint8) + np.arange(N, dtype=np.uint8)[:, None, None, None]
    return images, np.arange(N)


@given(N=st.integers(1, 40), batch_size=st.integers(1, 50))
def test_in_order_every_image_comes_once_the_smaller_rest_included(N, batch_size):
    images, labels = numbered(N)
    data = batches(images, labels, batch_size)
    pieces = list(data)
    assert len(data) == len(pieces)
    assert [len(y) for _, y in pieces[:-1]] == [batch_size] * (len(pieces) - 1)
    assert [v for _, y in pieces for v in y.tolist()] == list(range(N))
    for x, y in pieces:
        for image, label in zip(x, y, strict=True):
            assert image.tolist() == [[[np.float32(label) / np.float32(255)] * 2] * 2]


@given(N=st.integers(1, 40), batch_size=st.integers(1, 50), seed=st.integers(0, 2**32 - 1))
def test_a_shuffle_is_a_permutation_that_keeps_labels_with_images(N, batch_size, seed):
    images, labels = numbered(N)
    pieces = list(batches(images, labels, batch_size, np.random.default_rng(seed)))
    assert sorted(v for _, y in pieces for v in y.tolist()) == list(range(N))
    for x, y in pieces:
        np.testing.assert_array_equal(np.rint(x[:, 0, 0, 0] * 255), y)


def test_each_epoch_is_shuffled_anew_and_a_seed_repeats_it():
    images, labels = numbered(100)

    def two_epochs():
        data = batches(images, labels, 100, np.random.default_rng(3))
        return [y.tolist() for _ in range(2) for _, y in data]

    first, second = two_epochs()
    assert first != second
    assert first != list(range(100))
    assert two_epochs() == [first, second]


def test_uint8_becomes_float32_between_0_and_1():
    images = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    ((x, _),) = batches(images, np.zeros(1, np.int64), 1)
    assert x.dtype == np.float32
    assert x.min() == 0
    assert x.max() == 1
    np.testing.assert_array_equal(x.ravel(), [np.float32(v) / np.float32(255) for v in range(256)])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floating_images_pass_as_they_are(dtype):
    images = np.linspace(-3, 300, 8).astype(dtype).reshape(2, 1, 2, 2)
    ((x, _),) = batches(images, np.zeros(2, np.int64), 2)
    assert x.dtype == dtype
    np.testing.assert_array_equal(x, images)


def test_a_transform_sees_the_floating_batch_and_the_generator():
    images, labels = numbered(5)
    rng = np.random.default_rng(0)
    seen = []

    def transform(x, generator):
        seen.append((x.dtype.name, len(x), generator is rng))
        return -x

    pieces = list(batches(images, labels, 3, rng, transform))
    assert seen == [("float32", 3, True), ("float32", 2, True)]
    np.testing.assert_allclose(-pieces[0][0][:, 0, 0, 0] * 255, pieces[0][1], atol=1e-4)


def test_one_hot_labels_stay_with_their_images():
    images, labels = numbered(7)
    for x, rows in batches(images, np.eye(7)[labels], 3, np.random.default_rng(1)):
        np.testing.assert_array_equal(np.rint(x[:, 0, 0, 0] * 255), rows.argmax(axis=1))


def test_bad_data_is_refused_with_the_fix():
    images, labels = numbered(4)
    with pytest.raises(DatasetError, match="empty data set"):
        batches(images[:0], labels[:0], 2)
    with pytest.raises(DatasetError, match="4 images and 3 labels"):
        batches(images, labels[:3], 2)
    with pytest.raises(DatasetError, match="batch_size >= 1, got 0"):
        batches(images, labels, 0)
    with pytest.raises(DtypeError, match=r"got int64; convert with images.astype\(np.float32\)"):
        batches(images.astype(np.int64), labels, 2)
    with pytest.raises(DtypeError, match="images as a NumPy array, got list"):
        batches(images.tolist(), labels, 2)
    with pytest.raises(DtypeError, match=r"got 3; make one, once, with np.random.default_rng\(seed\)"):
        batches(images, labels, 2, 3)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64])
def test_good_labels_pass(dtype):
    check_labels(np.array([0, 9, 3], dtype), 10, "train")
    check_labels(np.eye(10, dtype=dtype), 10, "train")
    check_labels(np.eye(10), 10, "train")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array([0, 9, 10, 11]), "train: expected labels from 0 to 9, got 10 at index 2"),
        (np.array([0, -1]), "from 0 to 9, got -1 at index 1"),
        (np.array([0.0, 1.0]), "expected integer labels .*got float64"),
        (np.array([True]), "expected integer labels .*got bool"),
        (np.eye(9), r"expected one-hot labels \(N, 10\), got \(9, 9\); .*num_classes=9"),
        (np.zeros((2, 10, 1), np.int64), r"got int64 \(2, 10, 1\)"),
        (np.array(3), r"got int64 \(\)"),
    ],
)
def test_bad_labels_are_named(labels, message):
    with pytest.raises(DatasetError, match=message):
        check_labels(labels, 10, "train")


def test_labels_that_are_no_array_are_refused():
    with pytest.raises(DtypeError, match="train: expected labels as a NumPy array, got list"):
        check_labels([1, 2], 10, "train")
