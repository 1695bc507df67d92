"""From what NumPy computed to what the device would give."""

from typing import Any

import numpy as np

from xpcnn.simulated.events import emit, emit_dtype
from xpcnn.simulated.guard import Host, OnDevice, arrays_in


def on_device(
    result: Any,
    call: str,
    operands: list[OnDevice],
    keeps_order: bool = False,
    written: Any = None,
) -> Any:
    """Return NumPy's result as the device's: arrays without axes for numbers, C order, events announced.

    A result that lies in an operand's memory is a view, or the operand itself: nothing was launched for it, unless it
    is `written`, the argument `out`.
    Host values, a shape or a dtype, pass as they are.
    """
    from xpcnn.simulated.array import ndarray

    if isinstance(result, tuple | list):
        parts = [on_device(part, call, operands, keeps_order, written) for part in result]
        return type(result)(*parts) if hasattr(result, "_fields") else type(result)(parts)
    if result is None:
        emit("launch", call)
    if not isinstance(result, Host | np.generic):
        return result
    host = np.asarray(result)
    for operand in arrays_in(written):
        if operand._host is host:
            emit("launch", call)
            return operand
    for operand in operands:
        if operand._host is host:
            return operand
        if np.may_share_memory(host, operand._host):
            return ndarray(host)
    if not keeps_order and not host.flags.c_contiguous:
        host = np.ascontiguousarray(host)
    emit("launch", call)
    emit("allocation", call)
    emit_dtype(call, host.dtype)
    return ndarray(host)
