"""What the book's layers share here."""

from typing import Any

import numpy as np

from xpcnn.backend import Array, check_array, xp
from xpcnn.errors import BackwardError


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
