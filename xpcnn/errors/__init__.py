"""The kinds of errors. Every message says who reports it, what was expected, what was given, and what to do."""


class XpcnnError(Exception):
    """The base of every error that xpcnn raises on purpose."""


class ShapeError(XpcnnError, ValueError):
    """A shape, a window or a number of channels that does not fit."""


class DtypeError(XpcnnError, TypeError):
    """An array of the wrong dtype, or an object of the wrong type."""


class HyperparameterError(XpcnnError, ValueError):
    """A learning rate, a momentum or another number of the training that is out of its range."""


class BackendError(XpcnnError, RuntimeError):
    """A backend that cannot run here, or an array that lives on another one."""


class KernelError(BackendError):
    """A kernel that does not compile, is launched wrongly, or has a fault that the simulated device found."""


class BackwardError(XpcnnError, RuntimeError):
    """backward() without the forward() that belongs to it."""


class ContractError(XpcnnError, AssertionError):
    """A layer that breaks the contract of layers; `xpcnn.check_layer` raises it."""


class CheckpointError(XpcnnError, ValueError):
    """A weights file that cannot be read, or that belongs to another model."""


class XpcnnWarning(UserWarning):
    """The base of every warning of xpcnn."""


class UnsealedWarning(XpcnnWarning):
    """A weights file without a seal was read: a damaged number in it would not show."""


class ReproducibilityWarning(XpcnnWarning):
    """A training continues under other versions, kernels or instructions: close to the old one, but not to the bit."""


class MatchedByOrderWarning(XpcnnWarning):
    """Weights of other names were matched by the order of the layers, which names alone could have confirmed."""


class LockedError(XpcnnError, RuntimeError):
    """A folder or file that another process writes to."""


class DatasetError(XpcnnError, ValueError):
    """Images or labels that are missing, broken, empty or out of range."""


class DivergenceError(XpcnnError, ArithmeticError):
    """Training whose loss is no longer a finite number."""


class ExtraError(XpcnnError, ImportError):
    """A package that is not installed and that this part of xpcnn needs; the message has the command for it."""


class ExerciseError(XpcnnError, ValueError):
    """An exercise's file that is there already, or that does not run."""


class BenchmarkError(XpcnnError, RuntimeError):
    """A measurement that cannot be made, or that would compare different things."""


def __dir__() -> list[str]:
    return [name for name, value in globals().items() if isinstance(value, type)]
