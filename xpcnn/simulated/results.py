"""From what NumPy computed to what the device would give."""

from typing import Any

import numpy as np

from xpcnn.simulated.events import emit_dtype
from xpcnn.simulated.guard import Host, OnDevice, arrays_in, numbers_in
from xpcnn.simulated.launches import allocated, launched


def on_device(
    result: Any,
    call: str,
    operands: list[OnDevice],
    keeps_order: bool = False,
    written: Any = None,
    given: Any = (),
) -> Any:
    """Return NumPy's result as the device's: arrays without axes for numbers, C order, events announced.

    A result that lies in an operand's memory is a view, or the operand itself: nothing was launched for it, unless it
    is `written`, the argument `out`. The launch reads `operands` and the arrays in `given`, all arguments of the call.
    Host values, a shape or a dtype, pass as they are.
    """
    from xpcnn.simulated.array import ndarray

    if isinstance(result, tuple | list):
        parts = [on_device(part, call, operands, keeps_order, written, given) for part in result]
        return type(result)(*parts) if hasattr(result, "_fields") else type(result)(parts)
    reads, numbers = [*operands, *arrays_in(given)], numbers_in(given)
    if result is None:  # the first operand was changed in place
        launched(call, reads, reads[:1], numbers)
    if not isinstance(result, Host | np.generic):
        return result
    host = np.asarray(result)
    for operand in arrays_in(written):
        if operand._host is host:
            launched(call, reads, [operand], numbers)
            return operand
    for operand in operands:
        if operand._host is host:
            return operand
        if np.may_share_memory(host, operand._host):
            return ndarray(host)
    if not keeps_order and not host.flags.c_contiguous:
        host = np.ascontiguousarray(host)
    made = ndarray(allocated(call, host))
    launched(call, reads, [made], numbers)
    emit_dtype(call, host.dtype)
    return made
