"""The affine (fully connected, dense) map: y = W x + b, on the last axis."""

from xpcnn.backend import Array, accelerated
from xpcnn.kernels.precision import in_single
from xpcnn.ops.normalization import channel_sums


@accelerated
@in_single
def affine(x: Array, weight: Array, bias: Array | None) -> Array:
    """Return x W^T + b: (...,I) with weight (O,I) and bias (O,) -> (...,O)."""
    rows = x.reshape(-1, x.shape[-1])  # (..., I) -> (M, I)
    y = rows @ weight.T  # (M, I) @ (I, O)
    if bias is not None:
        y += bias
    return y.reshape(*x.shape[:-1], len(weight))  # (M, O) -> (..., O)


@accelerated
@in_single
def affine_backward(
    dy: Array, x: Array, weight: Array, need_dx: bool = True
) -> tuple[Array | None, Array, Array]:
    """Return (dx, dweight, dbias): dX = dY W, dW = dY^T X, db = sum of dY over all axes but the last."""
    rows = x.reshape(-1, x.shape[-1])  # (..., I) -> (M, I)
    drows = dy.reshape(-1, dy.shape[-1])  # (..., O) -> (M, O)
    dx = (drows @ weight).reshape(x.shape) if need_dx else None  # (M, I) -> (..., I)
    return dx, drows.T @ rows, channel_sums(drows)  # (O, M) @ (M, I)
