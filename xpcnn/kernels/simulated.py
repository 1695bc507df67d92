"""The simulated device's substitutes: the same CUDA kernels, compiled for the CPU when first needed."""

from xpcnn.errors import KernelError
from xpcnn.kernels.cuda import substitutes
from xpcnn.simulated import stand_in
from xpcnn.simulated.cuda import why_not

if reason := why_not():
    raise KernelError(reason)

SUBSTITUTES = substitutes(stand_in)
