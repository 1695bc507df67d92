"""xpcnn: convolutional networks in plain arrays, on NumPy or CuPy."""

__version__ = "0.1.0"

from xpcnn.backend import set_backend, synchronize, to_device, to_host, use_backend
from xpcnn.errors import XpcnnError

__all__ = ["XpcnnError", "set_backend", "synchronize", "to_device", "to_host", "use_backend"]
