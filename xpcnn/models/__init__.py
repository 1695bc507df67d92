"""Networks, one file a paper; each is a function that returns a Layer."""

from xpcnn.models.deep import deep
from xpcnn.models.lenet5 import lenet5
from xpcnn.models.simple import simple

__all__ = ["deep", "lenet5", "simple"]

BY_NAME = {"simple": simple, "deep": deep, "lenet5": lenet5}
