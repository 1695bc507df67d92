"""Max pooling on rows, each thread its share of them."""

from typing import Any

import numpy as np

from xpcnn.geometry import Window
from xpcnn.kernels.numpy import threads
from xpcnn.kernels.numpy.layout import as_images, rows_first


def max_pool(x: Any, window: Window) -> tuple[Any, Any]:
    """Substitute for `xpcnn.ops.max_pool`."""
    (OH, OW), (N, C, H, W) = window.output_size(*x.shape[2:]), x.shape
    ((top, bottom), (left, right)) = window.borders(H, W)
    if not any((top, bottom, left, right)):
        padded = rows_first(x)
    else:
        padded = np.full((top + H + bottom, C, left + W + right, N), -np.inf, x.dtype)
        padded[top : top + H, :, left : left + W] = x.transpose(2, 1, 3, 0)
    y = np.empty((OH, C, OW, N), x.dtype)
    winner = np.zeros(y.shape, np.uint8 if window.size[0] * window.size[1] <= 256 else np.int32)
    number = winner.dtype.type
    taps = [(down, across) for _, (_, down, across) in window.taps(OH, OW)]

    def some(start: int, stop: int) -> None:
        best, place = y[start:stop], winner[start:stop]
        for tap, (down, across) in enumerate(taps):
            pixels = padded[down, :, across][start:stop]
            if tap == 0:
                best[...] = pixels
                continue
            np.maximum(place, np.multiply(pixels > best, number(tap)), out=place)
            np.maximum(best, pixels, out=best)

    threads.in_parallel(some, OH, len(taps) * y.size)
    return as_images(y), as_images(winner)


def max_pool_backward(dy: Any, winner: Any, image_size: tuple[int, int], window: Window) -> Any:
    """Substitute for `xpcnn.ops.max_pool_backward`: windows that do not overlap are written, not added."""
    dy, winner = dy.transpose(2, 1, 3, 0), rows_first(winner)
    OH, C, OW, N = dy.shape
    (H, W), ((top, bottom), (left, right)) = image_size, window.borders(*image_size)
    (PH, PW), (EH, EW) = (top + H + bottom, left + W + right), window.extent
    apart = window.stride[0] >= EH and window.stride[1] >= EW
    covered = window.stride == window.size == (EH, EW) and (PH, PW) == (OH * EH, OW * EW)
    padded = (np.empty if covered else np.zeros)((PH, C, PW, N), dy.dtype)

    def some(start: int, stop: int) -> None:
        d, place = dy[start:stop], winner[start:stop]
        for tap, (_, (_, down, across)) in enumerate(window.taps(OH, OW)):
            pixels = padded[down, :, across][start:stop]
            if apart:
                np.multiply(d, place == tap, out=pixels)
            else:
                pixels += d * (place == tap)

    if apart:
        threads.in_parallel(some, OH, padded.size)
    else:  # neighbouring rows add to the same pixels
        some(0, OH)
    return as_images(padded[top : top + H, :, left : left + W])
