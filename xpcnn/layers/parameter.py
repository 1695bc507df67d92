"""The arrays of a layer: parameters, which training changes, and buffers, which it does not."""

from typing import Any

from xpcnn.backend import Array, to_device, xp
from xpcnn.errors import ShapeError


class Parameter:
    """An array that training changes, and the gradient of the loss with respect to it.

    Gradients add up between two updates: the first `add_gradient` after an optimizer's step writes, the next ones
    add. So four batches of 25 and one step are one batch of 100, and there is nothing to set to zero.

    Parameters
    ----------
    data : array
        The first values; uploaded to the active device if they are on the host.

    Attributes
    ----------
    trainable : bool
        A parameter that is not trainable keeps its values: it collects no gradient, and optimizers leave it alone.
        See `Layer.freeze`.

    Examples
    --------
    >>> import numpy as np
    >>> weight = Parameter(np.zeros(2))
    >>> for _ in range(3):
    ...     weight.add_gradient(np.ones(2))
    >>> weight.grad
    array([3., 3.])
    """

    __slots__ = ("_data", "_fresh", "_grad", "_read", "trainable")

    def __init__(self, data: Any) -> None:
        self.trainable = True
        self.data = to_device(data)

    @property
    def data(self) -> Array:
        """The values. Assigning an array of another shape, dtype or device begins a gradient of zeros to match."""
        return self._data

    @data.setter
    def data(self, data: Array) -> None:
        grad: Array = getattr(self, "_grad", None)
        if type(grad) is not type(data) or (grad.shape, grad.dtype) != (data.shape, data.dtype):
            self._grad, self._fresh, self._read = xp.zeros_like(data), True, False
        self._data = data

    @property
    def grad(self) -> Array:
        """The sum of the gradients since the last update; right after it, what that update used.

        What you write into this array counts as a gradient, until the next `add_gradient` after an update.
        """
        self._read = True
        return self._grad

    @grad.setter
    def grad(self, grad: Array) -> None:
        if grad.shape != self._data.shape:
            raise ShapeError(
                f"{self}: expected a gradient of {self._data.shape}, got {grad.shape}; pass that shape"
            )
        self._grad, self._fresh = grad, False

    def add_gradient(self, gradient: Array) -> None:
        """Add dL/dtheta to `grad`; the first one after an update replaces what the update used.

        Raises
        ------
        ShapeError
            If the gradient has another shape than the parameter.
        """
        if gradient.shape != self._data.shape:
            raise ShapeError(
                f"{self}: expected a gradient of {self._data.shape}, got {gradient.shape}; sum it over the axes that "
                "forward broadcasts"
            )
        if not self.trainable:
            return
        if not self._fresh:
            self._grad += gradient
        elif gradient is not self._grad:
            self._grad[...] = gradient
        self._fresh = self._read = False

    def unwritten(self) -> Array | None:
        """Return `grad` where the next `add_gradient` replaces it: a kernel may write the gradient there. Else None.

        Whatever the kernel returns goes to `add_gradient`, which then has nothing to copy.
        """
        grad = self._grad
        if not (
            self._fresh and self.trainable and grad.dtype == self._data.dtype and grad.flags.c_contiguous
        ):
            return None
        self._read = False
        return grad

    def bind(self, data: Array, grad: Array) -> None:
        """Keep values and gradient in these arrays from now on; they hold the same numbers already."""
        self._data, self._grad = data, grad

    def end_sum(self) -> None:
        """End the sum of gradients: the next one replaces it. An optimizer calls this after its update."""
        self._fresh, self._read = True, False

    def clear_unused(self) -> None:
        """Set a gradient to zero that no backward pass has added to since the last update, and nobody has read.

        An optimizer calls this before its update, so that it never uses a gradient twice.
        """
        if self._fresh and not self._read:
            self._grad[...] = 0

    def zero_grad(self) -> None:
        """Set the gradient to zero."""
        self._grad[...] = 0
        self.end_sum()

    def __repr__(self) -> str:
        return f"Parameter{self.data.shape}"


class Buffer:
    """An array that belongs to a layer's state but is not trained, such as a running mean.

    A layer writes into `data` and keeps the array, so that its address stays the same. With ``persistent=False`` the
    buffer is left out of weights files.
    """

    __slots__ = ("data", "persistent")

    def __init__(self, data: Any, persistent: bool = True) -> None:
        self.data, self.persistent = to_device(data), persistent

    def __repr__(self) -> str:
        return f"Buffer{self.data.shape}"
