"""Who is asked when, and what is made of the answers."""

import numpy as np
import pytest

from xpcnn.benchmark.contest import (
    Entrant,
    Ratio,
    agreement,
    check_losses,
    in_turn,
    losses_apart,
    ratio,
    round_medians,
)
from xpcnn.errors import BenchmarkError


class Asked:
    def __init__(self, log, name):
        self.log, self.name = log, name

    def ask(self, do, **arguments):
        self.log.append((self.name, do, arguments))
        return len(self.log)


def test_contenders_alternate_and_change_who_comes_first():
    log, pauses = [], []
    entrants = {name: Entrant(Asked(log, name), number, 10 + number) for number, name in enumerate("ab")}
    answers = in_turn(entrants, 3, sleep=pauses.append)
    assert [name for name, _, _ in log] == list("abbaab")
    assert log[1] == ("b", "steps", {"number": 1, "count": 11, "idle": 1})
    assert answers == {"a": [1, 4, 5], "b": [2, 3, 6]}
    assert len(pauses) == 6
    assert all(pause > 0 for pause in pauses)


def test_a_ratio_is_that_of_its_round_so_a_slower_machine_cancels():
    ours, speed = np.array([1.0, 1.0, 1.1, 1.0, 0.9]), np.array([1, 3, 1, 0.5, 1])
    found = ratio(ours * speed, 2 * speed)
    assert found == pytest.approx(Ratio(0.5, 0.45, 0.55))
    assert str(found) == "0.50 (0.45 to 0.55)"


def test_a_round_is_its_median_step():
    assert round_medians([[[1, 1], [2, 3], [50, 0]], [[1, 0]]]).tolist() == [5, 1]


def test_losses_that_agree_pass():
    losses = {"ours": [2.0, 1.0], "theirs": [2.0001, 1.0], "others": [2.0, 0.99995]}
    assert losses_apart(losses) == pytest.approx(5e-5)
    check_losses(losses)
    assert agreement(losses) == "their first 2 losses, dropout off, agree to 5e-05"


@pytest.mark.parametrize("wrong", [1.001, np.nan, np.inf])
def test_losses_that_differ_stop_it_with_the_numbers(wrong):
    with pytest.raises(
        BenchmarkError, match=r"ours: 2.000000 1.000000; theirs: 2.000000 .*nothing was timed"
    ):
        check_losses({"ours": [2.0, 1.0], "theirs": [2.0, wrong]})
