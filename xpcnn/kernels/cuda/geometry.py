"""The lengths of images and windows as the kernels take them."""

from xpcnn.geometry import Window


def lengths(images: tuple[int, ...], window: Window) -> dict[str, int]:
    """Return the lengths of images (N,C,H,W) and of a window, by their names in the .cu files."""
    N, C, H, W = images
    (OH, OW), ((top, _), (left, _)) = window.output_size(H, W), window.pads(H, W)
    names = ("N", "C", "H", "W", "OH", "OW", "KH", "KW", "SH", "SW", "DH", "DW", "top", "left")
    numbers = N, C, H, W, OH, OW, *window.size, *window.stride, *window.dilation, top, left
    return dict(zip(names, numbers, strict=True))
