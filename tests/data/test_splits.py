"""Slices, shares and everything that may be passed as a data set."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xpcnn.data import Dataset, Split, batches, embedded, mnist, split
from xpcnn.data.splits import pair
from xpcnn.errors import DatasetError, DtypeError

IMAGES = np.arange(20 * 4, dtype=np.uint8).reshape(20, 1, 2, 2)
LABELS = np.arange(20) % 4


class Files:
    """An object with len and [] and nothing else; it counts what is read."""

    def __init__(self, items):
        self.items, self.read = items, []

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        assert type(index) is int
        self.read.append(index)
        return self.items[index]


def test_a_slice_is_so_many_images_with_their_labels():
    hundred = mnist().train[:100]
    images, labels = hundred
    assert len(hundred) == len(images) == len(labels) == 100
    np.testing.assert_array_equal(images, mnist().train.images[:100])
    assert labels[:5].tolist() == [5, 0, 4, 1, 9]


@pytest.mark.parametrize(
    "index", [slice(3, 9), slice(None, None, 3), [4, 2, 4], np.array([1, 0]), LABELS == 2, slice(0, 0)]
)
def test_images_and_labels_are_cut_alike(index):
    part = Split(IMAGES, LABELS)[index]
    np.testing.assert_array_equal(part.images, IMAGES[index])
    np.testing.assert_array_equal(part.labels, LABELS[index])


def test_one_index_is_one_image_and_its_label():
    image, label = Split(IMAGES, LABELS)[7]
    np.testing.assert_array_equal(image, IMAGES[7])
    assert label == 3


def test_an_index_of_another_kind_is_refused():
    for index in ("a", 1.5, [0.5], None):
        with pytest.raises(
            DatasetError, match=r"Split: expected a number, a slice, indices or a mask.*split\[:100\]"
        ):
            Split(IMAGES, LABELS)[index]


def test_images_that_are_their_own_targets_stay_so_and_are_scaled():
    for part in (Split(IMAGES, IMAGES)[:8], *split((IMAGES, IMAGES), 0.5)):
        for x, target in batches(*part, 3):
            assert target.dtype == np.float32
            np.testing.assert_array_equal(x, target)
    (((a, b), target),) = batches(*Split((IMAGES, IMAGES + 1), IMAGES)[:5], 5)
    np.testing.assert_array_equal(target, a)
    assert not np.array_equal(a, b)


@given(
    counts=st.lists(st.integers(0, 30), min_size=1, max_size=6),
    share=st.one_of(st.floats(0.01, 0.99), st.integers(1, 60)),
    seed=st.integers(0, 99),
)
def test_each_class_gives_its_share(counts, share, seed):
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    N = len(labels)
    numbers = np.arange(N, dtype=np.float32)[:, None]
    wanted = share if isinstance(share, int) else round(share * N)
    if not 0 < wanted < N:
        with pytest.raises(DatasetError, match=r"split: expected a share.*pass 0\.1"):
            split((numbers, labels), share, rng=seed)
        return
    rest, held = split((numbers, labels), share, rng=seed)
    assert len(held) == wanted
    drawn = np.concatenate([rest.images[:, 0], held.images[:, 0]]).astype(int)
    assert sorted(drawn.tolist()) == list(range(N))
    np.testing.assert_array_equal(np.concatenate([rest.labels, held.labels]), labels[drawn])
    for label, count in enumerate(counts):
        assert abs((held.labels == label).sum() - count * wanted / N) < 1
    np.testing.assert_array_equal(held.images, split((numbers, labels), share, rng=seed)[1].images)


def test_a_seed_and_no_other_draws_the_same():
    first, again, other = (
        split((IMAGES, LABELS), 8, rng=rng)[1].images.tolist() for rng in (0, np.random.default_rng(0), 1)
    )
    assert first == again != other


def test_one_hot_rows_are_classes_and_other_targets_are_drawn_freely():
    _, held = split((IMAGES, np.eye(4)[LABELS]), 8)
    assert held.labels.sum(axis=0).tolist() == [2, 2, 2, 2]
    for targets in (IMAGES[:, 0], np.linspace(0, 1, 20), np.ones((20, 4)) / 4):
        rest, held = split((IMAGES, targets), 0.25)
        assert (len(rest), len(held)) == (15, 5)


@pytest.mark.parametrize("share", [0, 1.0, -0.5, 20, "0.1", None, True, float("nan")])
def test_a_share_that_leaves_nothing_is_refused(share):
    with pytest.raises(DatasetError, match=r"split: expected a share between 0 and 1"):
        split((IMAGES, LABELS), share)


def test_a_memory_map_is_read_batch_by_batch(tmp_path):
    stored = np.memmap(tmp_path / "images", np.uint8, "w+", shape=IMAGES.shape)
    stored[:] = IMAGES
    for data in ((stored, LABELS), split((stored, LABELS), 0.25)[0], Split(stored, LABELS)[2:]):
        for (x, y), (wanted, labels) in zip(batches(*data, 3), batches(*map(np.array, data), 3), strict=True):
            assert type(x) is np.ndarray
            np.testing.assert_array_equal(x, wanted)
            np.testing.assert_array_equal(y, labels)


def test_any_object_with_len_and_brackets_is_data():
    files = Files(list(IMAGES))
    data = batches(files, LABELS, 6, np.random.default_rng(0))
    files.read.clear()
    for (x, y), (wanted, labels) in zip(
        data, batches(IMAGES, LABELS, 6, np.random.default_rng(0)), strict=True
    ):
        np.testing.assert_array_equal(x, wanted)
        np.testing.assert_array_equal(y, labels)
    assert sorted(files.read) == list(range(20))  # each image once


def test_a_part_of_such_an_object_is_not_read_before_it_is_used():
    files = Files(list(IMAGES))
    part = Split(files, LABELS)[10:][[3, 1]]
    rest, held = split((files, LABELS), 0.25)
    assert set(files.read) == {0}  # the first tells shape and dtype
    np.testing.assert_array_equal(part.images[:], IMAGES[[13, 11]])
    assert len(rest) + len(held) == 20
    np.testing.assert_array_equal(part[1][0], IMAGES[11])


def test_an_object_of_pairs_is_data():
    images, labels = pair(Files(list(zip(IMAGES, LABELS, strict=True))), "train")
    np.testing.assert_array_equal(labels, LABELS)
    np.testing.assert_array_equal(Split(images, labels).images[2:5], IMAGES[2:5])


def test_an_element_of_another_shape_is_named():
    files = Files([*IMAGES[:5], np.zeros((1, 3, 2), np.uint8)])
    with pytest.raises(
        DatasetError, match=r"uint8 \(1, 2, 2\) like the first one, got uint8 \(1, 3, 2\) at index 5"
    ):
        list(batches(files, LABELS[:6], 6))


def test_a_whole_data_set_is_refused_with_the_half_that_is_meant():
    both = Dataset(Split(IMAGES, LABELS), Split(IMAGES, LABELS))
    with pytest.raises(DatasetError, match=r"evaluate: .*got a Dataset.*pass its \.test"):
        pair(both, "evaluate")
    with pytest.raises(DatasetError, match=r"train: .*pass its \.train"):
        pair(both, "train")
    with pytest.raises(DatasetError, match=r"expected images, got a Split; pass its \.images"):
        batches(both.test, LABELS, 3)
    with pytest.raises(DtypeError, match="expected labels as a NumPy array, got list"):
        Split(IMAGES, LABELS.tolist())


def test_mnist_is_unpacked_once_and_nobody_can_spoil_it(monkeypatch):
    first = mnist().test
    monkeypatch.setattr(embedded, "decompress", lambda *given: pytest.fail("unpacked again"))
    before = first.images.copy()
    first.images[:] = 0
    np.testing.assert_array_equal(mnist().test.images, before)
