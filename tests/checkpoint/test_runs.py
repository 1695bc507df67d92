"""A run's files, and those of the run before it."""

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from xpcnn.checkpoint import load_weights, read_weights
from xpcnn.checkpoint.runs import Record
from xpcnn.errors import CheckpointError
from xpcnn.layers import Affine
from xpcnn.training.state import Position

CONFIG = {"model": "simple", "dataset": "mnist", "lr": 0.1}


@pytest.fixture
def model(backend):
    return Affine(2, 3, rng=0)


def test_every_line_of_metrics_has_its_weights(model, tmp_path):
    record = Record(CONFIG, tmp_path / "deep" / "run", tmp_path / "all.jsonl")
    record.add({"epoch": 1}, model, 7)
    _, metadata = read_weights(tmp_path / "deep" / "run" / "weights.safetensors")
    assert (metadata["model"], metadata["dataset"], metadata["steps"]) == ("simple", "mnist", "7")
    assert json.loads(metadata["config"]) == CONFIG
    record.add({"epoch": 2}, model, 14)
    for path in (tmp_path / "all.jsonl", tmp_path / "deep" / "run" / "metrics.jsonl"):
        assert path.read_text() == '{"epoch": 1}\n{"epoch": 2}\n'
    load_weights(model, record.weights)


def test_former_files_are_kept_together_under_one_number(model, tmp_path):
    Record(CONFIG | {"lr": 1}, tmp_path)  # broke off before its first epoch: no weights
    Record(CONFIG | {"lr": 2}, tmp_path).add({"epoch": 1}, model, 1)
    Record(CONFIG | {"lr": 3}, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "config.json", "metrics.jsonl",
        "config.1.json", "metrics.1.jsonl",
        "config.2.json", "metrics.2.jsonl", "weights.2.safetensors",
    }  # fmt: skip
    assert json.loads((tmp_path / "config.2.json").read_text())["lr"] == 2


def test_metrics_may_be_those_of_the_folder(model, tmp_path):
    Record(CONFIG, tmp_path, tmp_path / "metrics.jsonl").add({"epoch": 1}, model, 1)
    assert (tmp_path / "metrics.jsonl").read_text() == '{"epoch": 1}\n'


def test_equal_weights_make_equal_bytes(model, tmp_path):
    files = [Record(CONFIG, tmp_path / str(n)) for n in range(6)]
    assert len({record.save(model, 1).read_bytes() for record in files}) == 1


@pytest.mark.parametrize("place", [{"folder": "taken"}, {"metrics": "taken/below"}, {"metrics": "."}])
def test_a_place_that_cannot_be_written_to_is_known_at_once(tmp_path, place):
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(OSError, match=r"."):
        Record(CONFIG, **{name: tmp_path / path for name, path in place.items()})
    assert (tmp_path / "taken").read_text() == "mine"


def resumed_at(epoch, step, steps=4):
    position = Position(0)
    position.epoch = epoch
    position.shuffle(10, steps)
    position.step = step
    return position


@pytest.mark.parametrize(("step", "kept"), [(0, 1), (2, 1), (4, 2)])
def test_a_run_that_goes_on_cuts_off_what_comes_again(model, tmp_path, step, kept):
    record = Record(CONFIG, tmp_path)
    for epoch in (1, 2, 3):
        record.add({"epoch": epoch, "seconds": 9}, model, epoch)
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"epoch": 4, "sec')  # the process was killed here
    (tmp_path / ".weights.safetensors.0123abcd.tmp").write_text("half")
    (tmp_path / ".weights.safetensors.mine.tmp").write_text("mine")
    again = Record(CONFIG, tmp_path, resumed=resumed_at(2, step))
    metrics = tmp_path / "metrics.jsonl"
    assert [json.loads(line)["epoch"] for line in metrics.read_text().splitlines()] == [1, 2][:kept]
    again.add({"epoch": 2, "seconds": 1}, model, 2)  # is yielded once more
    assert [json.loads(line)["seconds"] for line in metrics.read_text().splitlines()] == [
        9,
        9 if kept == 2 else 1,
    ]
    assert {path.name for path in tmp_path.iterdir()} == {
        "config.json", "metrics.jsonl", "weights.safetensors", ".weights.safetensors.mine.tmp",
    }  # fmt: skip


@pytest.mark.parametrize(
    "line",
    [
        "",
        "{",
        "[]",
        "3",
        "null",
        "{}",
        '{"epoch": "1"}',
        '{"epoch": null}',
        '{"epoch": 1.5}',
        "\x00",
        "[" * 9999,
        "\xff",
    ],
)
def test_a_line_that_is_none_of_metrics_is_named_and_nothing_is_lost(model, tmp_path, line):
    Record(CONFIG, tmp_path).add({"epoch": 1}, model, 1)
    metrics = tmp_path / "metrics.jsonl"
    content = metrics.read_bytes() + line.encode("latin-1") + b"\n"
    metrics.write_bytes(content)
    with pytest.raises(
        CheckpointError, match=r"metrics\.jsonl: line 2 is no line of metrics, .*; repair the file or"
    ):
        Record(CONFIG, tmp_path, resumed=resumed_at(2, 0))
    assert metrics.read_bytes() == content


def test_runs_that_are_interrupted_at_once_keep_all_their_weights(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    networks = [Affine(2, 3, rng=number) for number in range(6)]
    records = [Record(CONFIG) for _ in networks]
    with ThreadPoolExecutor(len(networks)) as pool:
        list(pool.map(lambda record, network: record.save(network, 1), records, networks))
    saved = {read_weights(file)[0]["weight"].tobytes() for file in tmp_path.iterdir()}
    assert saved == {np.asarray(network.weight.data).tobytes() for network in networks}
