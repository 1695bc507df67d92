"""Dropout's coin, thrown in one launch."""

import math
from typing import Any

from xpcnn.kernels.cuda.launch import Device


def keep_mask(device: Device, shape: tuple[int, ...], p: float, counter: Any, key: int) -> Any:
    """Substitute for `xpcnn.ops.keep_mask`, with the same bits."""
    keep = device.xp.empty(shape, bool)
    threshold = min(round(p * 2**32), 2**32 - 1)
    device.launch(
        "keep_mask",
        keep.size,
        counter=counter,
        keep=keep,
        key=key,
        threshold=threshold,
        size=math.prod(shape),
    )
    return keep
