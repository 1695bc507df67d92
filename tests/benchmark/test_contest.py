"""Who is asked when, and what is made of the answers."""

import numpy as np
import pytest

from xpcnn.benchmark.contest import ATTEMPTS, Entrant, in_turn, quietest, round_medians, same_losses
from xpcnn.benchmark.workload import Workload
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


def test_a_round_is_its_median_step():
    assert round_medians([[[1, 1], [2, 3], [50, 0]], [[1, 0]]]).tolist() == [5, 1]


class Says:
    """Answers every question with the same losses."""

    def __init__(self, losses):
        self.answer = losses

    def ask(self, do, workload, count, **options):
        assert (do, count) == ("losses", 3)
        return self.answer


def compared(**losses):
    return same_losses({name: Says(values) for name, values in losses.items()}, Workload())


def test_losses_that_agree_pass():
    losses, sentence = compared(ours=[2.0, 1.0, 1.0], theirs=[2.0001, 1.0, 1.0], others=[2.0, 0.99995, 1.0])
    assert losses["theirs"] == [2.0001, 1.0, 1.0]
    assert sentence == "their first 3 losses, dropout off, agree to 5e-05"
    assert compared(a=[1.0], b=[1.0])[1].endswith("agree to the bit")


@pytest.mark.parametrize("wrong", [1.001, np.nan, np.inf])
def test_losses_that_differ_stop_it_with_the_numbers(wrong):
    with pytest.raises(
        BenchmarkError, match=r"ours: 2.000000 1.000000; theirs: 2.000000 .*nothing was timed"
    ):
        compared(ours=[2.0, 1.0], theirs=[2.0, wrong])


# ---------------------------------------------------------------- noise


def measured(*spreads, bound=0.15):
    waiting, warnings = list(spreads), []
    found = quietest(lambda: waiting.pop(0), lambda value: value, bound, warnings.append)
    return found, warnings


def test_a_quiet_measurement_is_taken_at_once():
    found, warnings = measured(0.15, 0.01)
    assert (found.value, found.attempts, found.trusted) == (0.15, 1, True)
    assert not warnings
    assert str(found) == "the rounds spread by 15% (up to 15% is trusted)"


def test_a_noisy_one_is_repeated_until_it_is_quiet():
    found, warnings = measured(0.5, 0.1, 0.05)
    assert (found.value, found.attempts, found.trusted) == (0.1, 2, True)
    assert warnings == ["the rounds spread by 50%, more than 15%: the machine is noisy, measuring again"]
    assert "measured twice" in str(found)


def test_of_noisy_ones_the_quietest_is_kept_and_not_trusted():
    found, warnings = measured(0.5, 0.2, 0.4, 0.0)
    assert (found.value, found.attempts, found.trusted) == (0.2, ATTEMPTS, False)
    assert len(warnings) == ATTEMPTS - 1
    assert str(found).startswith("NOT TO BE TRUSTED: measured 3 times")
    assert found.record() == {"spread": 0.2, "bound": 0.15, "attempts": 3, "trusted": False}


@pytest.mark.parametrize("bound", [0.01, 0.3])
def test_the_bound_is_the_caller_s(bound):
    assert measured(0.2, 0.2, 0.2, bound=bound)[0].trusted == (bound == 0.3)
