"""The book's layers that do one thing in training and another in a test (sections 6.3 and 6.4)."""

import numpy as np

from xpcnn import ops
from xpcnn.backend import Array, check_array, to_device, xp
from xpcnn.errors import HyperparameterError, ShapeError
from xpcnn.interop.book.base import BookLayer


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
