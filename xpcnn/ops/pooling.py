"""Pooling: the largest, or the mean, of each window, channel by channel. It has nothing to learn."""

from xpcnn.backend import Array, accelerated, xp
from xpcnn.geometry import Window
from xpcnn.ops.windows import crop, pad, padded_shape


@accelerated
def max_pool(x: Array, window: Window) -> tuple[Array, Array]:
    """Return the largest pixel of each window, and which one it was: (N,C,H,W) -> two (N,C,OH,OW).

        y[n, c, p, q] = max over i, j of  x[n, c, SH p + i - top, SW q + j - left]

    The winner is i*KW + j, the first of equals, as uint8 where the window has at most 256 pixels.
    Beyond the image lies minus infinity, which never wins.
    """
    taps = window.taps(*window.output_size(*x.shape[2:]))
    padded = pad(x, window, -xp.inf)
    _, pixels = next(taps)
    y = xp.copy(padded[pixels])
    winner = xp.zeros_like(y, dtype=xp.uint8 if window.size[0] * window.size[1] <= 256 else xp.int32)
    for tap, (_, pixels) in enumerate(taps, start=1):
        winner = xp.maximum(
            winner, (padded[pixels] > y) * winner.dtype.type(tap)
        )  # a later tap is a larger number
        y = xp.maximum(y, padded[pixels])
    return y, winner


@accelerated
def max_pool_backward(dy: Array, winner: Array, image_size: tuple[int, int], window: Window) -> Array:
    """Carry dy to the pixel that won, where windows overlap adding: (N,C,OH,OW) -> (N,C,H,W)."""
    shape = padded_shape((*dy.shape[:2], *image_size), window)
    padded = xp.zeros_like(winner, dtype=dy.dtype, shape=shape)  # in the memory order of forward
    for tap, (_, pixels) in enumerate(window.taps(*dy.shape[2:])):
        padded[pixels] += dy * (winner == tap)
    return crop(padded, image_size, window)


@accelerated
def average_pool(x: Array, window: Window, count_include_pad: bool = False) -> Array:
    """Return the mean of each window: (N,C,H,W) -> (N,C,OH,OW).

        y[n, c, p, q] = 1/M sum over i, j of  x[n, c, SH p + i - top, SW q + j - left]

    M is the number of the window's pixels that lie in the image, or in image and padding with
    `count_include_pad`. What the last window of rounding="ceil" hangs over is never counted.
    """
    padded, taps = pad(x, window), window.taps(*window.output_size(*x.shape[2:]))
    total = sum(padded[pixels] for _, pixels in taps)
    return total / pixel_count(x.shape[2:], window, count_include_pad).astype(x.dtype)


@accelerated
def average_pool_backward(
    dy: Array, image_size: tuple[int, int], window: Window, count_include_pad: bool = False
) -> Array:
    """Share dy out equally among the pixels of its window: (N,C,OH,OW) -> (N,C,H,W)."""
    share = dy / pixel_count(image_size, window, count_include_pad).astype(dy.dtype)
    padded = xp.zeros(padded_shape((*dy.shape[:2], *image_size), window), dy.dtype)
    for _, pixels in window.taps(*dy.shape[2:]):
        padded[pixels] += share
    return crop(padded, image_size, window)


def pixel_count(image_size: tuple[int, int], window: Window, count_include_pad: bool) -> Array:
    """Return how many pixels the mean of each window is over: integers, (OH,OW)."""
    rows, columns = (
        xp.minimum(start + size, length + after * count_include_pad)
        - xp.maximum(start, -before * count_include_pad)
        for start, size, length, (before, after) in zip(
            window_starts(image_size, window), window.size, image_size, window.pads(*image_size), strict=True
        )
    )
    return rows[:, None] * columns


def window_starts(image_size: tuple[int, int], window: Window) -> list[Array]:
    """Return the first row of every window down the image, (OH,), and the first column across it, (OW,)."""
    return [
        xp.arange(windows) * stride - before
        for windows, stride, (before, _) in zip(
            window.output_size(*image_size), window.stride, window.pads(*image_size), strict=True
        )
    ]
