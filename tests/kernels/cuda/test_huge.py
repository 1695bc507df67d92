"""Positions beyond 2^31: the last elements of arrays that nobody has the memory for, against the textbook."""

import pytest
from cuda_huge import HUGE

from xpcnn.kernels.cuda import source

pytestmark = pytest.mark.usefixtures("compiler")


def test_every_kernel_has_its_huge_arrays():
    assert HUGE.keys() == source.signatures().keys() - {"mean"}


@pytest.mark.parametrize("kernel", HUGE)
def test_the_last_of_more_than_2_31_elements(kernel):
    HUGE[kernel]()
