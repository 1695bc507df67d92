"""xpcnn: convolutional networks in plain arrays, on NumPy or CuPy."""

__version__ = "0.1.0"

from xpcnn.backend import register_backend, set_backend, synchronize, to_device, to_host, use_backend
from xpcnn.errors import XpcnnError
from xpcnn.gradients import gradient_check, numerical_gradient
from xpcnn.layers import no_grad

__all__ = [
    "XpcnnError",
    "gradient_check",
    "no_grad",
    "numerical_gradient",
    "register_backend",
    "set_backend",
    "synchronize",
    "to_device",
    "to_host",
    "use_backend",
]
