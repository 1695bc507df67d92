"""The affine layer's backward, for features whose batch lies last."""

from typing import Any


def affine_backward(dy: Any, x: Any, weight: Any, need_dx: bool = True) -> tuple[Any, Any, Any]:
    """Substitute for `xpcnn.ops.affine_backward`: dx in the memory order of x, so what follows need not turn it."""
    rows, features = dy.reshape(-1, dy.shape[-1]), x.reshape(-1, x.shape[-1])
    dx = None
    if need_dx and x.ndim == 2 and x.flags.f_contiguous:
        dx = (weight.T @ rows.T).T
    elif need_dx:
        dx = (rows @ weight).reshape(x.shape)
    return dx, rows.T @ features, rows.sum(axis=0)
