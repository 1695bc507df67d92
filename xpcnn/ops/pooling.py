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
@in_single
def average_pool(x: Array, window: Window, count_include_pad: bool = False) -> Array:
    """Return the mean of each window: (N,C,H,W) -> (N,C,OH,OW).

        y[n, c, p, q] = 1/M sum over i, j of  x[n, c, SH p + DH i - top, SW q + DW j - left]

    M is the number of pixels of the window that are in the image, or in image and padding with `count_include_pad`.
    Pixels that the last window of rounding="ceil" adds are never counted; the mean of a window without pixels is 0.
    A window may be a whole image: the sums are compensated for what rounding loses.
    """
    (OH, OW), padded = window.output_size(*x.shape[2:]), pad(x, window)
    finite = xp.isfinite(padded)
    numbers, others = xp.where(finite, padded, 0), xp.where(finite, 0, padded)  # of inf nothing can be lost
    down, across = down_and_across(window)
    lost = xp.zeros_like(numbers)
    columns = compensated_sum(numbers, lost, down, (OH, padded.shape[3]))  # two of (N, C, OH, W + PW)
    total, lost = compensated_sum(*columns, across, (OH, OW))
    total = total + lost + sum_of_taps(sum_of_taps(others, down, (OH, padded.shape[3])), across, (OH, OW))
    return total / pixel_count(x.shape[2:], window, count_include_pad).astype(x.dtype)


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


def down_and_across(window: Window) -> tuple[Window, Window]:
    """Return two windows, of one column and of one row, that do what `window` does: KH + KW taps for KH KW."""
    (KH, KW), (SH, SW), (DH, DW) = window.size, window.stride, window.dilation
    return Window((KH, 1), (SH, 1), 0, (DH, 1)), Window((1, KW), (1, SW), 0, (1, DW))


def sum_of_taps(images: Array, window: Window, windows: tuple[int, int]) -> Array:
    """Add up the pixels of each window: (N,C,H,W) -> (N,C,*windows)."""
    return sum(images[pixels] for _, pixels in window.taps(*windows))


def compensated_sum(
    images: Array, lost: Array, window: Window, windows: tuple[int, int]
) -> tuple[Array, Array]:
    """Add up the pixels of each window, and apart from that what rounding took away from the sum and from the images.

    Two of (N,C,H,W) -> two of (N,C,*windows), which together have twice the digits.
    """
    taps = window.taps(*windows)
    _, pixels = next(taps)
    total, rest = images[pixels], lost[pixels]
    for _, pixels in taps:
        total, rounding = exact_sum(total, images[pixels])
        total, rest = exact_sum(total, rest + rounding + lost[pixels])
    return total, rest


def exact_sum(a: Array, b: Array) -> tuple[Array, Array]:
    """Return a + b as it is rounded, and exactly what rounding took away.

    Knuth, "The Art of Computer Programming" 2, section 4.2.2, theorem B.
    """
    total = a + b
    of_b = total - a
    return total, (a - (total - of_b)) + (b - of_b)
