"""Pooling: the largest pixel, or the mean, of each window, channel by channel."""

from xpcnn.backend import Array, accelerated, xp
from xpcnn.geometry import Window
from xpcnn.kernels.precision import in_single
from xpcnn.ops.windows import crop, pad, padded_shape


@accelerated
def max_pool(x: Array, window: Window) -> tuple[Array, Array]:
    """Return the largest pixel of each window, and which one it was: (N,C,H,W) -> two (N,C,OH,OW).

        y[n, c, p, q] = max over i, j of  x[n, c, SH p + DH i - top, SW q + DW j - left]

    The winner is i*KW + j, the first of equals, as uint8 where the window has at most 256 pixels.
    The border beyond the image is minus infinity, which never wins.
    """
    taps = window.taps(*window.output_size(*x.shape[2:]))
    padded = pad(x, window, -xp.inf)
    _, pixels = next(taps)
    y = xp.copy(padded[pixels])
    winner = xp.zeros_like(y, dtype=xp.uint8 if window.size[0] * window.size[1] <= 256 else xp.int32)
    for tap, (_, pixels) in enumerate(taps, start=1):
        won = padded[pixels] > y
        winner = xp.maximum(winner, won * winner.dtype.type(tap))  # later taps have larger numbers
        y = xp.maximum(y, padded[pixels])
    return y, winner


@accelerated
@in_single
def max_pool_backward(dy: Array, winner: Array, image_size: tuple[int, int], window: Window) -> Array:
    """Add dy to the pixel that won, for every window: (N,C,OH,OW) -> (N,C,H,W)."""
    shape = padded_shape((*dy.shape[:2], *image_size), window)
    padded = xp.zeros_like(winner, dtype=dy.dtype, shape=shape)  # in the memory order of forward
    for tap, (_, pixels) in enumerate(window.taps(*dy.shape[2:])):
        padded[pixels] += dy * (winner == tap)
    return crop(padded, image_size, window)


@accelerated
def average_pool(x: Array, window: Window, count_include_pad: bool = False) -> Array:
    """Return the mean of each window: (N,C,H,W) -> (N,C,OH,OW).

        y[n, c, p, q] = 1/M sum over i, j of  x[n, c, SH p + DH i - top, SW q + DW j - left]

    M is the number of pixels of the window that are in the image, or in image and padding with `count_include_pad`.
    Pixels that the last window of rounding="ceil" adds are never counted; the mean of a window without pixels is 0.
    A window may be a whole image, so the sums are in double precision.
    """
    (OH, OW), padded = window.output_size(*x.shape[2:]), pad(x, window)
    total = xp.zeros_like(padded, dtype=xp.float64, shape=(*x.shape[:2], OH, OW))
    for _, pixels in window.taps(OH, OW):
        total += padded[pixels]
    return (total / pixel_count(x.shape[2:], window, count_include_pad)).astype(x.dtype)


@accelerated
@in_single
def average_pool_backward(
    dy: Array, image_size: tuple[int, int], window: Window, count_include_pad: bool = False
) -> Array:
    """Divide dy equally among the pixels of its window: (N,C,OH,OW) -> (N,C,H,W)."""
    share = dy / pixel_count(image_size, window, count_include_pad).astype(dy.dtype)
    padded = xp.zeros(padded_shape((*dy.shape[:2], *image_size), window), dy.dtype)
    for _, pixels in window.taps(*dy.shape[2:]):
        padded[pixels] += share
    return crop(padded, image_size, window)


def pixel_count(image_size: tuple[int, int], window: Window, count_include_pad: bool) -> Array:
    """Return the number of pixels in the mean of each window, at least 1: integers, (OH,OW)."""
    windows, pads = window.output_size(*image_size), window.pads(*image_size)
    counts = []
    for axis, (length, (before, after)) in enumerate(zip(image_size, pads, strict=True)):
        first = xp.arange(windows[axis]) * window.stride[axis] - before
        pixel = first[:, None] + xp.arange(window.size[axis]) * window.dilation[axis]  # (OH, KH) or (OW, KW)
        inside = (pixel >= -before * count_include_pad) & (pixel < length + after * count_include_pad)
        counts.append(inside.sum(axis=1))
    return xp.maximum(counts[0][:, None] * counts[1], 1)
