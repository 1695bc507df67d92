"""Half precision stores, and does not add: sums of 10^5 terms, or as many as fit into memory, against float64."""

import pytest
from cuda_half_sums import HALF_SUMS

pytestmark = pytest.mark.usefixtures("compiler")


@pytest.mark.parametrize("name", HALF_SUMS)
def test_a_sum_of_many_terms(name):
    HALF_SUMS[name]()
