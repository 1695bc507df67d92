"""What a user of `xpcnn train` counts on: nothing is thrown away, the best epoch is kept, one's own images."""

import json

import numpy as np
import pytest

from xpcnn import models
from xpcnn.checkpoint import load_weights, read_weights
from xpcnn.commands import main as program
from xpcnn.commands.datasets import Sets, with_validation
from xpcnn.commands.train import RATES
from xpcnn.data import Split
from xpcnn.errors import CheckpointError, DatasetError, ExtraError, ShapeError
from xpcnn.optimizers import BY_NAME

FEW = ("--model", "lenet5", "--limit", 100, "--batch-size", 10)


@pytest.fixture
def xpcnn(train_script, monkeypatch, capsys, tmp_path):
    """Run a command in this process and in an empty folder; return what it printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XPCNN_DATA", str(train_script.folder))

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["xpcnn", *map(str, arguments)])
        assert program.main([*map(str, arguments)]) == 0
        return capsys.readouterr().out

    return run


def metrics(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_run_without_output_is_saved_and_the_last_line_says_where(xpcnn, tmp_path):
    *_, last = xpcnn("train", *FEW, "--epochs", 1).splitlines()
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name.startswith("lenet5-mnist-2")
    assert last == f"saved in runs/{folder.name}; go on with: xpcnn evaluate runs/{folder.name}"
    load_weights(models.lenet5(), folder / "weights.safetensors")
    assert "lenet5 is right on" in xpcnn("evaluate", "--quiet")  # the newest run
    xpcnn("train", *FEW, "--epochs", 1)
    assert len(list((tmp_path / "runs").iterdir())) == 2


def test_without_validation_it_is_said_that_the_test_is_shown(xpcnn):
    assert "that of the test images" in xpcnn("train", *FEW, "--epochs", 2)


def test_the_best_epoch_by_validation_is_kept_and_tested_once(xpcnn, tmp_path, monkeypatch):
    from xpcnn.commands import run

    true, seen, scores = run.evaluate, [], iter([0.2, 0.9, 0.4, 0.5])

    def evaluate(model, images, **options):
        seen.append(len(images))
        return next(scores) if len(images) == 30 else true(model, images, **options)

    monkeypatch.setattr(run, "evaluate", evaluate)
    out = xpcnn("train", *FEW, "--epochs", 4, "--validation", 30, "--output", "run")
    assert seen == [30] * 4 + [100]  # the test images are read once, at the end
    _, best = read_weights(tmp_path / "run" / "best.safetensors")
    assert (best["epoch"], best["validation_accuracy"]) == ("2", "0.9")
    assert best["steps"] == "14"
    assert "70 images" in out
    assert "with the weights of epoch 2, the best" in out
    assert [line["validation_accuracy"] for line in metrics(tmp_path / "run")] == [0.2, 0.9, 0.4, 0.5]
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert (result["best_epoch"], result["validation_accuracy"]) == (2, 0.9)
    tested = json.loads(xpcnn("evaluate", "run/best.safetensors", "--json", "--quiet"))
    assert tested["model"] == "lenet5"


def test_patience_stops_a_run(xpcnn, monkeypatch, tmp_path):
    from xpcnn.commands import run

    scores = iter([0.5, 0.4, 0.5, 0.3])  # an equal epoch is no better one
    monkeypatch.setattr(run, "evaluate", lambda *args, **options: next(scores))
    out = xpcnn("train", *FEW, "--epochs", 9, "--validation", 30, "--patience", 2, "--output", "run")
    assert "stopped: no better validation accuracy for 2 epochs" in out
    assert len(metrics(tmp_path / "run")) == 3


def test_images_are_held_back_by_class_and_none_is_trained_on():
    labels = np.repeat(np.arange(3), (10, 20, 70))
    images = np.arange(100, dtype=np.uint8).reshape(100, 1, 1, 1)
    sets = Sets(Split(images, labels), None, Split(images, labels), ("a", "b", "c"))
    found = with_validation(sets, 20)
    assert np.bincount(found.validation.labels).tolist() == [2, 4, 14]
    together = np.concatenate([found.train.images, found.validation.images]).ravel()
    assert sorted(together) == list(range(100))
    assert np.array_equal(found.validation.labels, labels[found.validation.images.ravel()])
    with pytest.raises(DatasetError, match="hold back fewer, 10 say"):
        with_validation(sets, 100)


class Stop(Exception):
    pass


def test_a_run_with_averaged_weights_resumes_to_the_bit(xpcnn, tmp_path, monkeypatch):
    from xpcnn.commands import run

    options = (*FEW, "--epochs", 2, "--ema", 0.9, "--validation", 30, "--checkpoint-every", 3)
    true = run.Saver.checkpoint

    def stopping(self):
        true(self)
        if self.optimizer.steps == 9 and self.record.folder.name == "run":
            raise Stop

    with monkeypatch.context() as patch:
        patch.setattr(run.Saver, "checkpoint", stopping)
        with pytest.raises(Stop):
            xpcnn("train", *options, "--output", "run")
    xpcnn("train", "--resume", "run")
    (tmp_path / "run").rename(tmp_path / "resumed")
    xpcnn("train", *options, "--output", "run")
    for name in ("weights.safetensors", "best.safetensors", "checkpoint.safetensors"):
        assert (tmp_path / "resumed" / name).read_bytes() == (tmp_path / "run" / name).read_bytes(), name
    averaged, _ = read_weights(tmp_path / "run" / "weights.safetensors")
    xpcnn("train", *FEW, "--epochs", 2, "--validation", 30, "--output", "plain")
    plain, _ = read_weights(tmp_path / "plain" / "weights.safetensors")
    assert not any(np.array_equal(averaged[name], plain[name]) for name in plain)


def test_curves_are_drawn_when_it_ends(xpcnn, tmp_path):
    pytest.importorskip("matplotlib")
    xpcnn("train", *FEW, "--epochs", 2, "--plot", "--output", "run")
    assert (tmp_path / "run" / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_tensorboard_is_asked_for_by_name_where_it_is_missing(xpcnn, monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "tensorboard", None)
    with pytest.raises(ExtraError, match=r'pip install "xpcnn\[tensorboard\]"'):
        xpcnn("train", *FEW, "--tensorboard")
    assert not (tmp_path / "runs").exists()


def test_each_optimizer_has_a_rate_of_its_own(xpcnn, tmp_path):
    assert RATES.keys() == BY_NAME.keys()
    xpcnn("train", *FEW, "--epochs", 1, "--optimizer", "sgd", "--output", "run")
    assert json.loads((tmp_path / "run" / "config.json").read_text())["lr"] == 0.1


def test_a_network_that_does_not_fit_is_answered_with_those_that_do(xpcnn, tmp_path):
    with pytest.raises(ShapeError, match=r"--model alexnet: .* pass one that does \(simple, deep, lenet5"):
        xpcnn("train", "--model", "alexnet")
    assert not (tmp_path / "runs").exists()


def test_a_folder_of_images_is_trained_on_tested_predicted_and_exported(xpcnn, tmp_path):
    Image = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    for name, low in (("dark", 0), ("light", 180)):
        (tmp_path / "set" / name).mkdir(parents=True)
        for number in range(20):
            pixels = rng.integers(low, low + 70, (20, 30, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "set" / name / f"{number}.png")
    folder = ("--dataset", "folder", "--data-dir", "set")
    xpcnn("train", "--model", "lenet5", *folder, "--size", 28, "--epochs", 4, "--batch-size", 8, "--output", "run",
          "--checkpoint-every", 2)  # fmt: skip
    assert "test accuracy 100.00%" in xpcnn("evaluate", "run", "--data-dir", "set", "--quiet")
    out = xpcnn("predict", "set/dark/0.png", "set/light/1.png", "--weights", "run", "--json")
    assert [json.loads(line)["class"] for line in out.splitlines()] == ["dark", "light"]
    table = xpcnn("predict", "set/dark/0.png", "--weights", "run", "--invert").splitlines()
    assert table[-1].split()[1] == "light"
    assert "resumed in epoch 4" in xpcnn("train", "--resume", "run", "--data-dir", "set")
    xpcnn("export", "run", "--torch", "torch.safetensors")
    assert (tmp_path / "torch.safetensors").exists()


def test_a_prediction_without_a_trained_network_says_how_to_train_one(xpcnn):
    with pytest.raises(CheckpointError, match=r"no trained network here; .* train one: xpcnn train"):
        xpcnn("predict", "digit.png")
