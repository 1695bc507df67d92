"""The picture of the mistakes says what is true."""

import numpy as np
import pytest

from xpcnn.data import class_names
from xpcnn.visualization import draw_mistakes, find_mistakes, save_png


def guesses(count, rng=0):
    generator = np.random.default_rng(rng)
    logits, labels = (
        generator.normal(size=(count, 10)).astype(np.float32) * 3,
        generator.integers(0, 10, count),
    )
    return logits, labels


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_mistakes_are_all_and_only_the_wrong_ones_the_surest_first():
    logits, labels = guesses(200)
    mistakes = find_mistakes(logits, labels)
    expected = {}
    for place, (row, label) in enumerate(zip(logits.astype(float), labels, strict=True)):
        softmax = np.exp(row) / sum(np.exp(row))
        if softmax.argmax() != label:
            expected[place] = (label, softmax.argmax(), softmax.max())
    assert {m.place: (m.label, m.predicted, pytest.approx(m.confidence)) for m in mistakes} == expected
    assert [m.confidence for m in mistakes] == sorted((m.confidence for m in mistakes), reverse=True)


def test_logits_of_1e4_are_sure_and_no_overflow():
    (mistake,) = find_mistakes(np.array([[1e4, -1e4]], np.float32), np.array([1]))
    assert mistake == (0, 1, 0, 1.0)


@pytest.mark.parametrize(
    ("count", "channels", "dataset"), [(7, 1, "mnist"), (90, 1, "fashion-mnist"), (25, 3, "cifar10")]
)
def test_each_cell_shows_its_image_label_prediction_and_confidence(count, channels, dataset):
    logits, labels = guesses(count)
    images = np.random.default_rng(1).integers(0, 256, (count, channels, 8, 8)).astype(np.uint8)
    names, mistakes = class_names(dataset), find_mistakes(logits, labels)
    figure = draw_mistakes(images, mistakes, names, dataset)
    assert len(figure.axes) == min(len(mistakes), 60)
    for axes, mistake in zip(figure.axes, mistakes, strict=False):
        shown = axes.images[0].get_array()
        picture = images[mistake.place].transpose(1, 2, 0)
        assert np.array_equal(shown, picture if channels == 3 else picture[..., 0])
        classes, confidence, place = (text.get_text() for text in axes.texts)
        assert classes.replace("\n", " ") == f"{names[mistake.label]} → {names[mistake.predicted]}"
        assert (confidence, place) == (f"{mistake.confidence:.1%}", f"#{mistake.place}")
        assert axes.patches[-1].get_width() == mistake.confidence
    heading, explanation = (text.get_text() for text in figure.texts)
    assert heading.startswith(f"{len(mistakes)} of {count} test images of {dataset} ")
    assert explanation.startswith("The 60 surest" if len(mistakes) > 60 else "All of them")


@pytest.mark.parametrize("dataset", ["mnist", "fashion-mnist", "cifar10"])
def test_no_text_touches_another(dataset):
    names = class_names(dataset)
    longest = int(np.argmax([len(name) for name in names]))
    logits = np.zeros((20, 10), np.float32)
    logits[:, longest] = 30
    figure = draw_mistakes(
        np.zeros((20, 1, 8, 8), np.uint8),
        find_mistakes(logits, np.full(20, (longest + 9) % 10)),
        names,
        dataset,
    )
    boxes = [text.get_window_extent() for axes in figure.axes for text in axes.texts]
    boxes += [text.get_window_extent() for text in figure.texts]
    assert len(boxes) == 62
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert all(figure.bbox.contains(*corner) for box in boxes for corner in (box.min, box.max))


def test_no_mistake_is_said_so_and_files_are_kept(tmp_path):
    figure = draw_mistakes(np.zeros((5, 1, 8, 8), np.uint8), [], class_names("mnist"), "mnist")
    assert [text.get_text() for text in figure.texts] == [
        "0 of 5 test images of mnist are taken for another class (0.00%)", "There is nothing to show.",
    ]  # fmt: skip
    save_png(figure, tmp_path / "wrong.png")
    first = (tmp_path / "wrong.png").read_bytes()
    save_png(figure, tmp_path / "wrong.png")
    assert first == (tmp_path / "wrong.png").read_bytes() == (tmp_path / "wrong.1.png").read_bytes()
    assert first.startswith(b"\x89PNG\r\n\x1a\n")
