"""A folder of images, a class a folder: against pixels that were written."""

import numpy as np
import pytest

from xpcnn import data
from xpcnn.errors import DatasetError

Image = pytest.importorskip("PIL.Image")
COLOURS = {"blue": (0, 0, 255), "red": (255, 0, 0)}


def write(root, counts, size=(6, 4)):
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", size, COLOURS.get(name, (9, 9, 9))).save(root / name / f"{number}.png")
    return root


def test_classes_are_the_folders_and_pixels_those_of_the_files(tmp_path):
    found = data.folder(write(tmp_path, {"red": 5, "blue": 10}))
    assert found.classes == ("blue", "red")
    (images, labels), (test_images, test_labels) = found
    assert images.shape == (12, 3, 4, 6)
    assert images.dtype == np.uint8
    assert np.bincount(labels).tolist() == [8, 4]
    assert np.bincount(test_labels).tolist() == [2, 1]
    for image, label in zip(images, labels, strict=True):
        assert tuple(image[:, 0, 0]) == COLOURS[found.classes[label]]


def test_the_same_images_are_kept_for_the_test_and_none_twice(tmp_path):
    root = tmp_path / "set"
    for name in ("a", "b"):
        (root / name).mkdir(parents=True)
        for number in range(10):
            Image.new("L", (2, 2), 10 * number + (name == "b")).save(root / name / f"{number}.png")
    first, second = (data.folder(root, channels=1) for _ in range(2))
    pixels = [images[:, 0, 0, 0].tolist() for images, _ in first]
    assert [images[:, 0, 0, 0].tolist() for images, _ in second] == pixels
    assert sorted(pixels[0] + pixels[1]) == sorted(10 * n + k for n in range(10) for k in (0, 1))


def test_train_and_test_may_be_folders_of_their_own(tmp_path):
    write(tmp_path / "train", {"red": 2, "blue": 3})
    write(tmp_path / "test", {"red": 1})
    found = data.folder(tmp_path)
    assert [split.labels.tolist() for split in found] == [[0, 0, 0, 1, 1], [1]]


def test_size_resizes_and_cuts_the_middle_out(tmp_path):
    write(tmp_path, {"red": 2, "blue": 2}, size=(40, 20))
    assert data.folder(tmp_path, 8).train.images.shape[1:] == (3, 8, 8)
    assert data.folder(tmp_path, (5, 7), channels=1).train.images.shape[1:] == (1, 5, 7)


def test_transparent_pixels_are_white(tmp_path):
    Image.new("RGBA", (2, 2), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    assert (data.read_image(tmp_path / "clear.png") == 255).all()


@pytest.mark.parametrize(
    "wrong", ["missing", "no classes", "one class", "empty class", "damaged", "two sizes"]
)
def test_what_cannot_be_read_is_named(tmp_path, wrong):
    root, sentence = tmp_path / "set", {
        "missing": "no such folder", "no classes": "at least two classes, got none", "one class": "got red",
        "empty class": "'blue' has no images to train on", "damaged": "0.png: this is no image",
        "two sizes": "pass size=64",
    }[wrong]  # fmt: skip
    if wrong != "missing":
        root.mkdir()
    if wrong not in ("missing", "no classes"):
        write(root, {"red": 3})
    if wrong == "empty class":
        (root / "blue").mkdir()
    if wrong in ("damaged", "two sizes"):
        write(root, {"blue": 3}, size=(6, 4) if wrong == "damaged" else (7, 4))
    if wrong == "damaged":
        for number in range(3):
            (root / "blue" / f"{number}.png").write_bytes(b"no picture")
        sentence = ".png: this is no image"
    with pytest.raises(DatasetError, match=sentence):
        data.folder(root)
