"""The book's layers (``common/layers.py``, chapters 5 to 7): arrays in, arrays out, over `xpcnn.ops`.

W and b are the caller's arrays and stay his: `forward` reads them anew each time, so a program may change them in
place, or put others there. `backward` leaves the gradients in dW and db. `params` and `grads` list both, as in the
book's second volume. A layer computes in the wider dtype of its input and its parameters.
"""

from xpcnn import ops
from xpcnn.backend import Array, check_array, xp
from xpcnn.errors import ShapeError
from xpcnn.geometry import Window
from xpcnn.interop.book.base import BookLayer
from xpcnn.interop.book.functions import (
    cross_entropy_error,
    one_hot,
    relu,
    relu_grad,
    sigmoid,
    sigmoid_grad,
    softmax,
)
from xpcnn.interop.book.regularization import BatchNormalization, Dropout
from xpcnn.interop.book.windows import col2im, im2col

__all__ = [  # what ``from common.layers import *`` gives in the book
    "Affine",
    "BatchNormalization",
    "Convolution",
    "Dropout",
    "Pooling",
    "Relu",
    "Sigmoid",
    "SoftmaxWithLoss",
    "col2im",
    "cross_entropy_error",
    "im2col",
    "relu",
    "relu_grad",
    "sigmoid",
    "sigmoid_grad",
    "softmax",
]


class Affine(BookLayer):
    """y = x W + b: (N, ...) -> (N,O), with W (I,O), the transpose of `xpcnn.layers.Affine`'s, and b (O,).

    Further axes of x are flattened, and dx has them again.
    """

    names = ("W", "b")

    def __init__(self, W: Array, b: Array) -> None:
        self.W, self.b = W, b
        self.dW: Array | None = None
        self.db: Array | None = None

    def forward(self, x: Array) -> Array:
        dtyped, W, b = self._same_dtype(x, self.W, self.b)
        rows = dtyped.reshape(len(x), -1)  # (N, I)
        if rows.shape[1] != len(W):
            raise ShapeError(
                f"{self}: expected {len(W)} features, got {rows.shape[1]} in {x.shape}; change W"
            )
        self._saved = rows, W, x.shape
        return ops.affine(rows, W.T, b)

    def backward(self, dout: Array) -> Array:
        rows, W, shape = self._recall()
        dx, dW, self.db = ops.affine_backward(dout, rows, W.T)
        self.dW = dW.T
        return dx.reshape(shape)  # type: ignore[union-attr]


class Convolution(BookLayer):
    """Cross-correlation: (N,C,H,W) -> (N,FN,OH,OW), with W (FN,C,FH,FW) and b (FN,), or a number."""

    names = ("W", "b")

    def __init__(self, W: Array, b: Array | float, stride: int = 1, pad: int = 0) -> None:
        self.W, self.b, self.stride, self.pad = W, b, stride, pad
        self.dW: Array | None = None
        self.db: Array | None = None

    def forward(self, x: Array) -> Array:
        x, W, b = self._same_dtype(x, self.W, self.b)
        if x.ndim != 4 or x.shape[1] != W.shape[1]:
            raise ShapeError(
                f"{self}: expected (N, {W.shape[1]}, H, W), got {x.shape}; change W or reshape x"
            )
        window = Window(W.shape[2:], self.stride, self.pad)
        window.output_size(x.shape[2], x.shape[3], who=self)
        self._saved = x, W, window
        return ops.conv(x, W, xp.ascontiguousarray(xp.broadcast_to(b, W.shape[:1])), window)

    def backward(self, dout: Array) -> Array:
        x, W, window = self._recall()
        dx, self.dW, self.db = ops.conv_backward(dout, x, W, window)
        return dx


class Pooling(BookLayer):
    """The largest of each window: (N,C,H,W) -> (N,C,OH,OW), OH = (H + 2 pad - pool_h) // stride + 1.

    The book's OH leaves `pad` out, so it fails for pad > 0, and it pads with zeros, which beat every negative number;
    here the border never wins. `stride` is 2 unless told otherwise, as in the book's code (in print it was once 1).
    """

    def __init__(self, pool_h: int, pool_w: int, stride: int = 2, pad: int = 0) -> None:
        if pad >= min(pool_h, pool_w):
            raise ShapeError(
                f"Pooling: expected pad below {min(pool_h, pool_w)}, got {pad}; a window beyond the image is empty"
            )
        self.pool_h, self.pool_w, self.stride, self.pad = pool_h, pool_w, stride, pad

    def forward(self, x: Array) -> Array:
        check_array(x, self)
        if x.ndim != 4:
            raise ShapeError(f"{self}: expected (N, C, H, W), got {x.shape}; reshape x")
        window = Window((self.pool_h, self.pool_w), self.stride, self.pad)
        window.output_size(x.shape[2], x.shape[3], who=self)
        y, winner = ops.max_pool(x, window)
        self._saved = winner, x.shape[2:], window
        return y

    def backward(self, dout: Array) -> Array:
        return ops.max_pool_backward(dout, *self._recall())


class Relu(BookLayer):
    """max(x, 0). The book's backward writes into dout; this one leaves it alone."""

    def forward(self, x: Array) -> Array:
        check_array(x, self)
        y = ops.relu(x)
        self._saved = (y,)
        return y

    def backward(self, dout: Array) -> Array:
        return ops.relu_backward(dout, *self._recall())


class Sigmoid(BookLayer):
    """1 / (1 + exp(-x)), without the book's overflow."""

    def forward(self, x: Array) -> Array:
        check_array(x, self)
        y = ops.sigmoid(x)
        self._saved = (y,)
        return y

    def backward(self, dout: Array) -> Array:
        return ops.sigmoid_backward(dout, *self._recall())


class SoftmaxWithLoss(BookLayer):
    """Softmax, and the mean cross-entropy with labels t: integers (N,), or one-hot (N,D).

    The book takes the logarithm of p + 1e-7; here it is that of softmax itself, exact for any x. backward multiplies
    by dout, which the book ignores.

    Attributes
    ----------
    loss, y, t : arrays
        The loss, the probabilities, and t as it was given.
    """

    def __init__(self) -> None:
        self.loss: Array | None = None
        self.y: Array | None = None
        self.t: Array | None = None

    def forward(self, x: Array, t: Array) -> Array:
        check_array(x, self)
        check_array(t, self)
        rows = x.reshape(-1, x.shape[-1])  # (N, D)
        if t.size not in (rows.size, len(rows)):
            raise ShapeError(
                f"{self}: expected {len(rows)} labels or {rows.shape} one-hot, got {t.shape}; reshape t"
            )
        target = one_hot(t, rows)
        self.t = t
        self.loss, self.y = ops.softmax_cross_entropy(rows, target)
        self._saved = target, x.shape
        return self.loss

    def backward(self, dout: Array | float = 1) -> Array:
        target, shape = self._recall()
        return ops.softmax_cross_entropy_backward(self.y, target).reshape(shape) * dout
