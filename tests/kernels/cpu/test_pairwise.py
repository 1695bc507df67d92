"""Sums of products in NumPy's kernels are added in pairs."""

import numpy as np
import pytest

from xpcnn.kernels.cpu.plain.unrolling import pairwise


@pytest.mark.parametrize("number", [1, 2, 3, 7, 64, 4097])
def test_rounding_grows_with_the_logarithm_of_the_number_of_terms(number):
    term = np.float32(0.1)
    total = pairwise(np.full(3, term) for _ in range(number))
    roundings = number.bit_length()
    assert abs(total - number * float(term)).max() <= roundings * np.finfo("f").eps * number * float(term)
