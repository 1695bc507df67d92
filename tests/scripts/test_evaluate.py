"""scripts/evaluate.py: its numbers against a count of our own, its picture, and its errors."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from xpcnn import data, models
from xpcnn.checkpoint import load_weights, read_weights
from xpcnn.data import Dataset, Split
from xpcnn.errors import CheckpointError


def is_one_sentence(run):
    return (
        run.stderr.startswith("evaluate.py: ")
        and run.stderr.count("\n") == 1
        and "Traceback" not in run.stderr
    )


@pytest.fixture(scope="module")
def weights(trained):
    folder, _ = trained
    return folder / "run" / "weights.safetensors"


@pytest.fixture(scope="module")
def evaluated(evaluate_script, weights, tmp_path_factory):
    """What one run printed, and its picture; the last of its batches is smaller."""
    folder = tmp_path_factory.mktemp("evaluated")
    run = evaluate_script(weights, "--json", "--wrong", "wrong.png", "--batch-size", 100, cwd=folder)
    assert (run.returncode, run.stderr) == (0, "")
    return run, folder / "wrong.png"


@pytest.fixture(scope="module")
def counted(weights, small_mnist):
    """The confusion matrix, image by image."""
    images, labels = data.load("mnist", small_mnist).test
    model = models.simple()
    load_weights(model, weights)
    counts = np.zeros((10, 10), int)
    for image, label in zip(images, labels, strict=True):
        scores = model.eval()(image[np.newaxis] / np.float32(255))
        counts[label, scores.argmax()] += 1
    return counts


def test_numbers_equal_an_independent_count(evaluated, counted):
    result = json.loads(evaluated[0].stdout.splitlines()[-1])
    assert result["confusion"] == counted.tolist()
    assert (result["model"], result["dataset"], result["backend"]) == ("simple", "mnist", "numpy")
    assert (result["images"], result["correct"]) == (250, int(np.trace(counted)))
    assert result["test_accuracy"] == np.trace(counted) / 250
    for number, row in enumerate(result["classes"]):
        assert (row["name"], row["support"]) == (str(number), counted[number].sum())
        assert row["recall"] == pytest.approx(counted[number, number] / counted[number].sum())


def test_the_accuracy_is_the_one_that_training_printed(trained, weights, small_mnist):
    """Of the test images that its --limit 200 left."""
    images, labels = data.load("mnist", small_mnist).test[:200]
    model = models.simple()
    load_weights(model, weights)
    found = model.eval()(images / np.float32(255)).argmax(axis=1)
    assert json.loads(trained[1].stdout)["test_accuracy"] == (found == labels).mean()


def test_tables_are_printed_within_100_columns(evaluated, counted):
    lines = evaluated[0].stdout.splitlines()[:-1]
    assert max(map(len, lines)) <= 100
    matrix = lines[next(i for i, line in enumerate(lines) if line.startswith("label")) + 2 :][:10]
    assert [line.split() for line in matrix] == [
        [str(label), *(str(count) if count else "." for count in row)] for label, row in enumerate(counted)
    ]


def test_the_picture_is_a_png_with_a_cell_for_each_mistake_up_to_sixty(evaluated, counted):
    from matplotlib.image import imread
    from scipy.ndimage import label

    path = evaluated[1]
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    red = np.round(imread(path)[..., :3] * 255).astype(int) == (0xC8, 0x40, 0x2F)
    _, bars = label(red.all(axis=-1))
    wrong = counted.sum() - np.trace(counted)
    assert bars == min(wrong, 60)


def test_quiet_prints_the_accuracy_only(evaluate_script, weights, counted, tmp_path):
    run = evaluate_script(weights, "--quiet", cwd=tmp_path)
    correct = np.trace(counted)
    assert run.stdout == (
        f"test accuracy {correct / 250:.2%}: simple is right on {correct} of 250 images of mnist\n"
    )


def test_without_matplotlib_wrong_is_one_sentence_and_all_else_works(evaluate_script, weights, tmp_path):
    (tmp_path / "absent").mkdir()
    (tmp_path / "absent" / "sitecustomize.py").write_text("import sys; sys.modules['matplotlib'] = None\n")
    without = {"PYTHONPATH": str(tmp_path / "absent")}
    run = evaluate_script(weights, "--wrong", "wrong.png", cwd=tmp_path, **without)
    assert (run.returncode, run.stdout) == (1, "")
    assert is_one_sentence(run)
    assert 'pip install "xpcnn[viz]"' in run.stderr
    assert not (tmp_path / "wrong.png").exists()
    assert evaluate_script(weights, "--quiet", cwd=tmp_path, **without).returncode == 0


def test_a_missing_file_is_one_sentence(evaluate_script, tmp_path):
    run = evaluate_script("none.safetensors", cwd=tmp_path)
    assert run.returncode == 1
    assert is_one_sentence(run)
    assert "none.safetensors: no such file" in run.stderr


def test_a_file_without_a_seal_is_read_and_said_to_be_one(trained, evaluate_script, tmp_path):
    folder, _ = trained
    arrays, metadata = read_weights(folder / "run" / "weights.safetensors")
    save_file(arrays, tmp_path / "weights.safetensors", metadata)
    run = evaluate_script("weights.safetensors", "--quiet", cwd=tmp_path)
    assert run.returncode == 0
    assert run.stdout.startswith("test accuracy ")
    assert run.stderr == (
        "evaluate.py: weights.safetensors: has no seal, so damage to its numbers would not show; "
        "save_weights writes one that has\n"
    )


def test_a_damaged_file_is_one_sentence(trained, evaluate_script, tmp_path):
    folder, _ = trained
    content = bytearray((folder / "run" / "weights.safetensors").read_bytes())
    content[-100] ^= 4
    (tmp_path / "weights.safetensors").write_bytes(content)
    run = evaluate_script("weights.safetensors", cwd=tmp_path)
    assert (run.returncode, run.stdout, run.stderr.count("\n")) == (1, "", 1)
    assert run.stderr.startswith("evaluate.py: weights.safetensors: its seal is broken: ")


@pytest.mark.filterwarnings("ignore::xpcnn.errors.UnsealedWarning")
def test_a_file_of_no_model_of_ours_names_the_flag_that_helps(evaluate_script, monkeypatch, tmp_path):
    save_file({"a": np.zeros(2)}, tmp_path / "other.safetensors", {"model": "vgg"})
    with pytest.raises(
        CheckpointError, match=r"names the model 'vgg'; pass --model with one of: simple, deep, lenet5"
    ):
        evaluate_script.module(monkeypatch, tmp_path / "other.safetensors").main()
    with pytest.raises(CheckpointError, match=r"names no dataset; pass --dataset"):
        evaluate_script.module(monkeypatch, tmp_path / "other.safetensors", "--model", "simple").main()


def test_another_model_is_refused_with_the_name_of_the_file_s_own(evaluate_script, weights, monkeypatch):
    with pytest.raises(CheckpointError, match=r"the file says: --model simple --dataset mnist$"):
        evaluate_script.module(monkeypatch, weights, "--model", "lenet5").main()


def test_another_data_set_s_shape_is_refused(evaluate_script, weights, monkeypatch):
    script = evaluate_script.module(monkeypatch, weights, "--dataset", "cifar10", "--quiet")
    nothing = Split(np.zeros((4, 3, 32, 32), np.uint8), np.zeros(4, np.int64))
    monkeypatch.setattr("xpcnn.data.load", lambda *arguments, **options: Dataset(nothing, nothing))
    with pytest.raises(CheckpointError, match=r"the file says: --model simple --dataset mnist$"):
        script.main()


def test_wrong_must_be_a_png(evaluate_script, weights, monkeypatch, capsys):
    with pytest.raises(SystemExit, match="2"):
        evaluate_script.module(monkeypatch, weights, "--wrong", "wrong.pdf").main()
    assert "--wrong: expected a file's name that ends in .png, got 'wrong.pdf'" in capsys.readouterr().err
