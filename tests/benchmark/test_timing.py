"""Percentiles and rates, from numbers that can be done in the head."""

import numpy as np
import pytest

from xpcnn import benchmark
from xpcnn.benchmark.timing import Ratio, Timing, ratio, spread, timing_table


def test_percentiles_lie_around_the_median():
    seconds = np.zeros((11, 4))
    seconds[:, 1] = np.arange(11) / 1e3
    forward = benchmark.timings(seconds, dict.fromkeys(benchmark.PHASES, 10**6))["forward"]
    assert forward[:3] == pytest.approx((5, 1, 9))
    assert forward.gflops == pytest.approx(0.2)  # 10^6 operations in 5 ms


def test_spread_is_that_of_the_middle_eight_in_ten():
    assert spread(np.arange(11) + 5) == pytest.approx(8 / 10)
    assert spread(np.full(7, 3.0)) == 0


def test_a_rate_is_shown_where_operations_are_counted():
    table = {"forward": Timing(2.0, 1.0, 3.0, 0.5, 10**9), "update": Timing(2.0, 1.0, 3.0, 0.5, 0)}
    *_, forward, update = timing_table(table, peak=1000).splitlines()
    assert forward.split()[-2:] == ["500.0", "50%"]
    assert update.split()[-2:] == [".", "."]


def test_a_ratio_is_that_of_its_round_so_a_slower_machine_cancels():
    ours, speed = np.array([1.0, 1.0, 1.1, 1.0, 0.9]), np.array([1, 3, 1, 0.5, 1])
    found = ratio(ours * speed, 2 * speed)
    assert found == pytest.approx(Ratio(0.5, 0.45, 0.55))
    assert str(found) == "0.50 (0.45 to 0.55)"
