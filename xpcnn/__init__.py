"""xpcnn: convolutional networks in plain arrays, on NumPy or CuPy."""

from xpcnn.backend import set_backend, synchronize, to_device, to_host, use_backend

__version__ = "0.1.0"
