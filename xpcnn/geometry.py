"""The integer arithmetic of a sliding window: no arrays, no backend, only sizes."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from xpcnn.errors import ShapeError

__all__ = [
    "Padding",
    "Pair",
    "PixelIndex",
    "Rounding",
    "Window",
    "pair",
]

Pair: TypeAlias = tuple[int, int]
Padding: TypeAlias = tuple[Pair, Pair]  # ((top, bottom), (left, right))
Rounding: TypeAlias = Literal["floor", "ceil", "exact"]
PixelIndex: TypeAlias = tuple[Any, slice, slice]


def pair(value: int | Pair, name: str, minimum: int = 1) -> Pair:
    """Return an int or a (height, width) as (height, width), each at least `minimum`."""
    height, width = value if isinstance(value, (tuple, list)) and len(value) == 2 else (value, value)
    for number in (height, width):
        if isinstance(number, bool) or not hasattr(number, "__index__") or number.__index__() < minimum:
            raise ShapeError(
                f"{name}: expected an int or a (height, width) of at least {minimum}, got {value!r}; "
                f"pass {name}={minimum}, say"
            )
    return height.__index__(), width.__index__()


def _padding(value: Any) -> Padding | Literal["same"]:
    if value == "same":
        return "same"
    if value == "valid":
        return (0, 0), (0, 0)
    try:
        if isinstance(value, (tuple, list)) and any(isinstance(side, (tuple, list)) for side in value):
            vertical, horizontal = value
            return pair(tuple(vertical), "padding", 0), pair(tuple(horizontal), "padding", 0)
        height, width = pair(value, "padding", 0)
    except (ShapeError, TypeError, ValueError):
        raise ShapeError(
            f"padding: expected an int, (height, width), ((top, bottom), (left, right)), 'same' or 'valid', "
            f"none negative, got {value!r}; pass padding=0 for none"
        ) from None
    return (height, height), (width, width)


@dataclass(frozen=True, init=False)
class Window:
    """A window that slides over an image: how large it is, and where it stops.

    One axis of length `L`, padded to ``L + before + after``, is met by a window of `K` elements that
    are `D` apart, so of extent ``E = D (K - 1) + 1``, every `S` elements:

        O = (L + before + after - E) / S + 1        windows, rounded as `rounding` says.

    Parameters
    ----------
    size, stride, dilation : int or (height, width)
    padding : int, (height, width), ((top, bottom), (left, right)), "same" or "valid"
        "same" gives ``ceil(L / S)`` windows, with the odd element of padding at the end (TensorFlow's rule).
    rounding : "floor", "ceil" or "exact"
        When S does not divide: drop the remainder; let one more window hang over the end, provided that it
        begins inside the image or the padding before it (Caffe's and PyTorch's rule); or raise.

    Raises
    ------
    ShapeError
        For sizes below 1, negative padding, or an unknown `rounding`.

    References
    ----------
    Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", arXiv:1603.07285.

    Examples
    --------
    >>> Window(5).output_size(28, 28)
    (24, 24)
    >>> Window(3, stride=2, padding=1).output_size(28, 28)
    (14, 14)
    >>> Window(3, stride=2, rounding="ceil").output_size(28, 28)
    (14, 14)
    """

    size: Pair
    stride: Pair
    padding: Padding | Literal["same"]
    dilation: Pair
    rounding: Rounding

    def __init__(
        self,
        size: int | Pair,
        stride: int | Pair = 1,
        padding: Any = 0,
        dilation: int | Pair = 1,
        rounding: Rounding = "floor",
    ) -> None:
        if rounding not in ("floor", "ceil", "exact"):
            raise ShapeError(
                f"rounding: expected 'floor', 'ceil' or 'exact', got {rounding!r}; pass 'floor', say"
            )
        object.__setattr__(self, "size", pair(size, "kernel_size"))
        object.__setattr__(self, "stride", pair(stride, "stride"))
        object.__setattr__(self, "padding", _padding(padding))
        object.__setattr__(self, "dilation", pair(dilation, "dilation"))
        object.__setattr__(self, "rounding", rounding)

    @property
    def extent(self) -> Pair:
        """Rows and columns from the window's first element to its last, both included."""
        return tuple(d * (k - 1) + 1 for d, k in zip(self.dilation, self.size, strict=True))  # type: ignore[return-value]

    def output_size(self, height: int, width: int, who: object = None) -> Pair:
        """Return (OH, OW), the number of windows down and across an image of height x width pixels.

        Raises
        ------
        ShapeError
            If no window fits, or if `rounding` is "exact" and the stride does not divide; it names `who`, the
            layer, if there is one.
        """
        return self._windows(0, height, who), self._windows(1, width, who)

    def pads(self, height: int, width: int) -> Padding:
        """Return the padding, ((top, bottom), (left, right)), in numbers: for "same" it depends on the image."""
        return self._pad(0, height), self._pad(1, width)

    def borders(self, height: int, width: int) -> Padding:
        """Return ((top, bottom), (left, right)): what surrounds the image so that every window lies inside.

        That is the padding, and with `rounding="ceil"` what the last window hangs over besides.
        """
        return self._border(0, height), self._border(1, width)

    def taps(self, out_height: int, out_width: int) -> Iterator[tuple[Pair, PixelIndex]]:
        """Yield ((i, j), index) for every element of the window, row by row.

        ``padded[index]`` is the (..., OH, OW) view of the pixels which element (i, j) meets, one a window.
        """
        (SH, SW), (DH, DW) = self.stride, self.dilation
        for i in range(self.size[0]):
            for j in range(self.size[1]):
                rows = slice(i * DH, i * DH + SH * (out_height - 1) + 1, SH)
                columns = slice(j * DW, j * DW + SW * (out_width - 1) + 1, SW)
                yield (i, j), (..., rows, columns)

    def _pad(self, axis: int, length: int) -> Pair:
        if self.padding != "same":
            return self.padding[axis]
        windows = -(-length // self.stride[axis])
        total = max((windows - 1) * self.stride[axis] + self.extent[axis] - length, 0)
        return total // 2, total - total // 2

    def _windows(self, axis: int, length: int, who: object = None) -> int:
        before, after = self._pad(axis, length)
        extent, stride = self.extent[axis], self.stride[axis]
        room = length + before + after - extent
        side = ("height", "width")[axis]
        if length < 1 or room < 0:
            raise ShapeError(
                f"{who or self}: expected a {side} of at least {max(extent - before - after, 1)}, got {length}; "
                "pass a smaller kernel_size, a smaller dilation or more padding"
            )
        windows, remainder = room // stride + 1, room % stride
        if not remainder or self.padding == "same" or self.rounding == "floor":
            return windows
        if self.rounding == "exact":
            raise ShapeError(
                f"{who or self}: stride {stride} does not divide {length} + {before} + {after} - {extent} = {room} "
                f"({side}); pass rounding='floor' or 'ceil', or padding that makes up {stride - remainder}"
            )
        return windows + (windows * stride < length + before)

    def _border(self, axis: int, length: int) -> Pair:
        before, after = self._pad(axis, length)
        end = (self._windows(axis, length) - 1) * self.stride[axis] + self.extent[axis]
        return before, max(after, end - before - length)

    def __str__(self) -> str:
        return f"window {self.size[0]}x{self.size[1]}" + "".join(
            f", {name} {value}"
            for name, value, usual in (
                ("stride", self.stride, (1, 1)),
                ("padding", self.padding, ((0, 0), (0, 0))),
                ("dilation", self.dilation, (1, 1)),
            )
            if value != usual
        )


def __dir__() -> list[str]:
    return __all__
