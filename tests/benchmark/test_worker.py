"""A contender in this process: what it answers fits together, and can be said in JSON."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from xpcnn.benchmark.phases import PHASES, operations
from xpcnn.benchmark.worker import Contender, answer
from xpcnn.benchmark.workload import Workload

WORK = Workload("deep", 4, "sgd", image=(1, 28, 28))


@pytest.fixture
def ask():
    contender = Contender()

    def asked(do, **arguments):
        return json.loads(json.dumps(answer(contender, json.dumps({"do": do, **arguments}))))

    return asked


def test_an_opened_training_tells_its_counts_and_its_steps(ask, backend):
    told = ask("open", workload=asdict(WORK))["answer"]
    assert told["number"] == 0
    assert told["operations"] == operations(WORK.network(), WORK.input_shape, 4)
    assert told["parameters"] == 123_552
    assert told["seconds"] > 0
    assert ask("open", workload=asdict(WORK))["answer"]["number"] == 1
    assert np.shape(ask("steps", number=0, count=3, idle=1)["answer"]) == (3, len(PHASES))
    assert ask("steps", number=1, count=0, idle=1)["answer"] == []


def test_layers(ask, backend):
    ask("open", workload=asdict(WORK))
    told = ask("layers", number=0, count=2)["answer"]
    assert np.shape(told["seconds"]) == (2, len(told["places"]) + 1, 2)
    assert told["places"][0]["kind"] == "Conv"


def test_losses_are_of_a_fresh_network_each_time(ask):
    first = ask("losses", workload=asdict(WORK), count=3)["answer"]
    assert ask("losses", workload=asdict(WORK), count=3)["answer"] == first
    assert len(set(first)) == 3


def test_the_machine_and_the_workspace(ask):
    ask("open", workload=asdict(WORK))
    assert ask("machine")["answer"]["backend"] == "numpy"
    assert "pytorch" not in ask("machine")["answer"]
    held, bound = ask("workspace")["answer"]
    assert 0 < held
    assert 0 < bound


def test_what_the_user_can_fix_is_an_answer(ask, monkeypatch):
    wrong = asdict(WORK) | {"model": "alexnet"}
    told = ask("open", workload=wrong)
    assert told["kind"] == "ShapeError"
    assert "alexnet does not fit images" in told["error"]

    def too_much(*_):
        raise MemoryError

    monkeypatch.setattr(Workload, "training", too_much)
    told = ask("open", workload=asdict(WORK))
    assert told == {
        "error": "there is not enough memory; pass a smaller batch size",
        "kind": "BenchmarkError",
    }
