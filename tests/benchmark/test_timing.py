"""Percentiles and rates, from numbers that can be done in the head."""

import numpy as np
import pytest

from xpcnn import benchmark
from xpcnn.benchmark.timing import Timing, rate, spread


def test_percentiles_lie_around_the_median():
    seconds = np.zeros((11, 4))
    seconds[:, 1] = np.arange(11) / 1e3
    forward = benchmark.timings(seconds, dict.fromkeys(benchmark.PHASES, 10**6))["forward"]
    assert forward[:3] == pytest.approx((5, 1, 9))
    assert forward.gflops == pytest.approx(0.2)  # 10^6 operations in 5 ms


def test_spread_is_that_of_the_middle_eight_in_ten():
    assert spread(np.arange(11) + 5) == pytest.approx(8 / 10)
    assert spread(np.full(7, 3.0)) == 0


def test_a_rate_is_told_where_operations_are_counted():
    assert rate(Timing(2.0, 1.0, 3.0, 0.5, 10**9), peak=1000) == ("500.0", "50%")
    assert rate(Timing(2.0, 1.0, 3.0, 0.5, 0), peak=1000) == (".", ".")
    assert rate(Timing(2.0, 1.0, 3.0, 0.5, 10**9)) == ("500.0",)
