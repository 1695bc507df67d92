"""Dropout masks, in one launch."""

from typing import Any

from xpcnn.kernels.cuda.launch import Device


def keep_mask(device: Device, shape: tuple[int, ...], p: float, counter: Any, key: int) -> Any:
    """Substitute for `xpcnn.ops.keep_mask`, with the same bits."""
    keep = device.xp.empty(shape, bool)
    threshold = min(round(p * 2**32), 2**32 - 1)
    numbers = {"key": key, "threshold": threshold, "size": keep.size}
    device.launch("keep_mask", keep.size, counter=counter, keep=keep, **numbers)
    return keep
