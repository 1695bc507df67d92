"""The book's layers (``common/layers.py``, chapters 5 to 7): arrays in, arrays out, over `xpcnn.ops`.

W and b are the caller's arrays and stay his: `forward` reads them anew each time, so a program may change them in
place, or put others there. `backward` leaves the gradients in dW and db. `params` and `grads` list both, as in the
book's second volume. A layer computes in the wider dtype of its input and its parameters.
"""

from typing import Any

import numpy as np

from xpcnn import ops
from xpcnn.backend import Array, check_array, to_device, xp
from xpcnn.errors import BackwardError, HyperparameterError, ShapeError
from xpcnn.geometry import Window
from xpcnn.interop.book.functions import (
    cross_entropy_error,
    one_hot,
    relu,
    relu_grad,
    sigmoid,
    sigmoid_grad,
    softmax,
)
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


class BookLayer:
    """What the layers share. backward may be called again; what forward kept stays until the next forward."""

    names: tuple[str, ...] = ()
    _saved: tuple[Any, ...] | None = None

    @property
    def params(self) -> list[Array]:
        """The parameters, such as [W, b]."""
        return [getattr(self, name) for name in self.names]

    @property
    def grads(self) -> list[Array | None]:
        """Their gradients, such as [dW, db]; None before backward."""
        return [getattr(self, f"d{name}") for name in self.names]

    def _same_dtype(self, x: Array, *others: Any) -> list[Array]:
        """Check where all live, and bring them to the widest dtype; numbers become arrays of it."""
        arrays = [array for array in (x, *others) if not isinstance(array, (int, float))]
        for array in arrays:
            check_array(array, self)
        dtype = np.result_type(*(array.dtype for array in arrays))
        return [xp.asarray(array, dtype) for array in (x, *others)]

    def _recall(self) -> tuple[Any, ...]:
        if self._saved is None:
            raise BackwardError(f"{self}: backward() called before forward(); call forward(x) first")
        return self._saved

    def __repr__(self) -> str:
        shapes = [f"{name} {tuple(getattr(getattr(self, name), 'shape', ()))}" for name in self.names]
        return f"{type(self).__name__}({', '.join(shapes)})"


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


class Dropout(BookLayer):
    """In training, set elements to zero with probability `dropout_ratio`; in a test, scale all by 1 - dropout_ratio.

    The book's way round; `xpcnn.layers.Dropout` scales in training instead. The elements are drawn with
    ``np.random.rand`` of NumPy's global generator, as in the book, on the host: ``np.random.seed`` gives the book's
    own masks on every backend.

    Srivastava et al., arXiv:1207.0580.
    """

    def __init__(self, dropout_ratio: float = 0.5) -> None:
        if not 0 <= dropout_ratio < 1:
            raise HyperparameterError(
                f"Dropout: expected 0 <= dropout_ratio < 1, got {dropout_ratio}; pass 0.5"
            )
        self.dropout_ratio = float(dropout_ratio)

    def forward(self, x: Array, train_flg: bool = True) -> Array:
        check_array(x, self)
        if not train_flg:
            self._saved = (1.0 - self.dropout_ratio,)
        else:
            draws = np.random.rand(*x.shape)  # noqa: NPY002 - the generator that programs seed
            self._saved = (to_device(draws > self.dropout_ratio),)
        return x * self._saved[0]

    def backward(self, dout: Array) -> Array:
        (factor,) = self._recall()
        return dout * factor


class BatchNormalization(BookLayer):
    """gamma (x - mean) / sqrt(variance + 1e-6) + beta, mean and variance of the batch, or in a test the running ones.

        running = momentum running + (1 - momentum) batch        beginning at 0, both biased, as in the book

    x is (N,D), or (N,C,H,W). For four axes the book normalises every pixel by itself, which wants gamma of C*H*W
    numbers; so does this where gamma has as many. With C numbers it normalises every channel over batch and pixels,
    as the paper has it for convolutions (Ioffe and Szegedy, ICML 2015, section 3.2).
    """

    names = ("gamma", "beta")
    eps = 10e-7

    def __init__(
        self,
        gamma: Array,
        beta: Array,
        momentum: float = 0.9,
        running_mean: Array | None = None,
        running_var: Array | None = None,
    ) -> None:
        self.gamma, self.beta, self.momentum = gamma, beta, float(momentum)
        self.running_mean, self.running_var = running_mean, running_var
        self.dgamma: Array | None = None
        self.dbeta: Array | None = None

    def forward(self, x: Array, train_flg: bool = True) -> Array:
        dtyped, gamma, beta = self._same_dtype(x, self.gamma, self.beta)
        if gamma.size not in (x[0].size, x.shape[1]):
            raise ShapeError(
                f"{self}: expected gamma of {x.shape[1]} or {x[0].size} numbers for {x.shape}, got {gamma.size}; "
                "make it and beta as long"
            )
        rows = dtyped if gamma.size == x.shape[1] else dtyped.reshape(len(x), -1)
        if self.running_mean is None or self.running_var is None:
            self.running_mean, self.running_var = xp.zeros_like(gamma), xp.zeros_like(gamma)
        mean, variance = self.running_mean, self.running_var
        if train_flg:
            mean, variance = ops.batch_statistics(rows)
            self.running_mean = self.momentum * self.running_mean + (1 - self.momentum) * mean
            self.running_var = self.momentum * self.running_var + (1 - self.momentum) * variance
        self._saved = rows, gamma, mean, variance, train_flg, x.shape
        return ops.batch_norm(rows, gamma, beta, mean, variance, self.eps).reshape(x.shape)

    def backward(self, dout: Array) -> Array:
        rows, gamma, mean, variance, of_batch, shape = self._recall()
        dx, self.dgamma, self.dbeta = ops.batch_norm_backward(
            dout.reshape(rows.shape), rows, gamma, mean, variance, self.eps, of_batch
        )
        return dx.reshape(shape)
