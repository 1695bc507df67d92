"""Does a layer keep the contract? The checks that the layers of this package pass, for any layer."""

from contextlib import suppress
from typing import Any

from xpcnn.backend import use_backend
from xpcnn.debug._checks import CHECKS, check_backends
from xpcnn.errors import BackendError
from xpcnn.layers import Layer


def check_layer(
    layer: Layer, input_shape: Any, *, backends: tuple[str, ...] = ("numpy", "simulated")
) -> None:
    """Raise unless a layer keeps the contract of `xpcnn.layers.Layer`; the message says what to change.

    It checks copies of the layer, in training and in evaluation, on each of the backends that can run here: shapes and
    dtypes, gradients by differences, a dy of another shape, arguments that must not change, several places in one
    pass, sums of gradients, memory orders, copies, pickles, weights files, and equal results on all backends.

    Parameters
    ----------
    layer : Layer
        One whose values at a random input are away from kinks, as for `gradient_check`.
    input_shape : tuple of int, or a tuple of such tuples for several inputs
        Of one sample, without the batch axis.
    backends : names of backends
        Those that cannot run here are left out.

    Raises
    ------
    ContractError
        For the first check that fails.

    Examples
    --------
    >>> from xpcnn.layers import Conv
    >>> check_layer(Conv(2, 3, 3), (2, 5, 5))
    >>> class Twice(Conv):
    ...     def backward(self, dy, need_dx=True):
    ...         return 2 * super().backward(dy, need_dx)
    >>> check_layer(Twice(2, 3, 3), (2, 5, 5))
    Traceback (most recent call last):
    xpcnn.errors.ContractError: Twice(2, 3, 3): the dx that backward() returns is 2 times what differences ...
    """
    for backend in backends:
        with suppress(BackendError), use_backend(backend):
            for training in (True, False):
                for check in CHECKS:
                    check(layer.copy().to_device().train(training), input_shape)
    for training in (True, False):
        check_backends(layer.copy().train(training), input_shape, backends)
