"""A device in the host's memory: CuPy's arrays and rules without a GPU, for tests and for students.

`XPCNN_BACKEND=simulated` runs the code that would run on CuPy. What CuPy refuses is refused here. What CuPy does
quietly and slowly (waiting for the device, copying to and from it) is counted by `ledger` and forbidden by
`capturing`. docs/simulated.md explains how to use it, what it proves and what it does not.
"""

from xpcnn.simulated.array import ndarray
from xpcnn.simulated.capture import capturing
from xpcnn.simulated.dtypes import dtype_ledger
from xpcnn.simulated.ledger import Ledger, ledger
from xpcnn.simulated.memory import device_memory
from xpcnn.simulated.namespace import stand_in

__all__ = ["Ledger", "capturing", "device_memory", "dtype_ledger", "ledger", "ndarray", "stand_in"]
