"""The real CuPy is the reference for what exists and how it is called; it imports without a GPU.

The signature of a function is read; of an array's methods, the first line of the docstring, which Cython keeps:
``_ndarray_base.sum(self, axis=None, dtype=None, out=None, keepdims=False) -> _ndarray_base``.
"""

import functools
import inspect
import operator
import re
from types import ModuleType
from typing import Any

INSTALL = 'pip install "xpcnn[simulated]"'
REINSTALL = 'pip install --force-reinstall "cupy-cuda13x>=14"'


@functools.cache
def cupy() -> ModuleType:
    """Import CuPy, any of its wheels: CUDA's libraries, a driver and a GPU may be missing."""
    import cupy

    module: ModuleType = cupy
    return module


def why_no_judge() -> str | None:
    """Return why the real CuPy does not import, ending in the command that fixes it; None if it does."""
    try:
        cupy()
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name == "cupy":
            return f"it asks the real CuPy what exists there, and CuPy is not installed; run: {INSTALL}"
        what = f"{type(error).__name__}: {error}".splitlines()[0]
        return f"CuPy does not import ({what}); run: {REINSTALL}"
    return None


def real(path: str) -> Any:
    """Return CuPy's object of a dotted name, or raise an AttributeError that says that CuPy lacks it."""
    try:
        return operator.attrgetter(path)(cupy())
    except AttributeError:
        version = cupy().__version__
        raise AttributeError(f"cupy.{path} does not exist: CuPy {version} has no such name") from None


def lacks(path: str, hint: str = "") -> AttributeError:
    """Return the error for a name that the simulated device lacks, whether or not CuPy has it."""
    real(path)
    return AttributeError(f"cupy.{path} exists, but the simulated device lacks it{hint}")


@functools.cache
def signature(path: str) -> inspect.Signature | None:
    """Return the signature of a function, or of an array's method ("ndarray.sum"); None where CuPy hides it."""
    found = real(path)
    try:
        return inspect.signature(found)
    except (TypeError, ValueError):
        return _from_docstring(found.__doc__ or "")


def bind(path: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Raise a TypeError unless CuPy's function could be called so."""
    known = signature(path)
    try:
        if known is not None:
            known.bind(*args, **kwargs)
    except TypeError as error:
        raise TypeError(f"cupy.{path}{known}: {error}") from None


def _from_docstring(doc: str) -> inspect.Signature | None:
    """Read ``_ndarray_base.partition(self, kth, int axis=-1)``, without C's types."""
    first = doc.strip().partition("\n")[0]
    arguments = re.fullmatch(r"[\w.]+\((.*)\)(?: -> .*)?", first)
    if arguments is None:
        return None
    python = re.sub(r"(^|, )\w+ (?=\w)", r"\1", arguments.group(1))
    made: dict[str, Any] = {}
    exec(f"def method({python}): ...", made)
    return inspect.signature(made["method"])
