"""Max pooling's backward in batch-last memory."""

from typing import Any

import numpy as np

from xpcnn.geometry import Window
from xpcnn.kernels.numpy.batch_last import batch_first, batch_last


def max_pool_backward(dy: Any, winner: Any, image_size: tuple[int, int], window: Window) -> Any:
    """Substitute for `xpcnn.ops.max_pool_backward`: windows that do not overlap are written, not added."""
    dy, winner = batch_last(dy), batch_last(winner)
    C, OH, OW, N = dy.shape
    (H, W), ((top, bottom), (left, right)) = image_size, window.borders(*image_size)
    (PH, PW), (EH, EW) = (top + H + bottom, left + W + right), window.extent
    disjoint = window.stride[0] >= EH and window.stride[1] >= EW
    covered = window.stride == window.size == (EH, EW) and (PH, PW) == (OH * EH, OW * EW)
    padded = (np.empty if covered else np.zeros)((C, PH, PW, N), dy.dtype)
    for tap, (_, (_, down, across)) in enumerate(window.taps(OH, OW)):
        pixels, won = padded[:, down, across], winner == tap
        if disjoint:
            np.multiply(dy, won, out=pixels)
        else:
            pixels += dy * won
    return batch_first(padded[:, top : top + H, left : left + W])
