"""NumPy's substitutes; `xpcnn.kernels.load` puts those of `xpcnn.kernels.cpu.compiled` in their place."""

from xpcnn.kernels.cpu.plain import REMARK as REMARK
from xpcnn.kernels.cpu.plain import SUBSTITUTES as SUBSTITUTES
from xpcnn.kernels.cpu.plain import WORKSPACE as WORKSPACE
