"""Whether to measure again: spreads that are given, not measured."""

import pytest

from xpcnn.benchmark.noise import ATTEMPTS, quietest


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
