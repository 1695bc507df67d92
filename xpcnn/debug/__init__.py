"""Is it right? Checks of a layer, of a gradient and of two backends."""

from xpcnn.debug._checks import CHECKS
from xpcnn.debug.check_layer import check_layer
from xpcnn.debug.gradients import gradient_check, numerical_gradient

__all__ = ["CHECKS", "check_layer", "gradient_check", "numerical_gradient"]


def __dir__() -> list[str]:
    return __all__
