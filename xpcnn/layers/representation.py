"""The text of a layer: the call that made it. It never raises, whatever a user's layer keeps."""

import inspect
import textwrap
from typing import Any

LONGEST = 60
"""Characters of a value that are shown."""

UNKNOWN = object()


def shown_arguments(layer: Any) -> list[str]:
    """Return the arguments of a layer's constructor, as far as it keeps them as attributes of the same names.

    Required arguments come first and without their names; of the others those that differ from their default. One
    that the layer does not keep is ``...``; layers are left out, since `tree` shows them.
    """
    shown: list[str] = []
    by_name = False
    for argument in _constructor(layer):
        required, variadic = argument.default is argument.empty, argument.kind in _VARIADIC
        if argument.name in ("rng", "initializer") or variadic:
            continue
        value = _attribute(layer, argument.name)
        if isinstance(argument.default, bool) and value is not UNKNOWN and not isinstance(value, bool):
            value = value is not None  # a bias, which the layer keeps in place of the flag
        if value is UNKNOWN or _holds_layers(value):
            if value is UNKNOWN and required and not shown:
                shown.append("...")
            by_name = True
        elif required and not by_name:
            shown.append(_written(value))
        elif required or not _equal(value, argument.default):
            shown.append(f"{argument.name}={_written(value)}")
    return shown


def arguments(layer: Any) -> dict[str, Any]:
    """Return the arguments of a layer's constructor that it keeps, if they are numbers, texts or tuples of these."""
    held = {argument.name: _attribute(layer, argument.name) for argument in _constructor(layer)}
    return {name: value for name, value in held.items() if _is_plain(value)}


def tree(name: str, arguments: list[str], inside: list[tuple[str, str]]) -> str:
    """Return ``Name(arguments)``, with the layers inside on lines of their own.

    >>> print(tree("Block", ["8"], [("conv", "Conv(8, 8, 3)"), ("0", "ReLU()")]))
    Block(
        8,
        conv=Conv(8, 8, 3),
        ReLU(),
    )
    """
    if not inside:
        return f"{name}({', '.join(arguments)})"
    lines = [*arguments, *(child if key.isdecimal() else f"{key}={child}" for key, child in inside)]
    text = "".join(f"{line},\n" for line in lines)
    return f"{name}(\n{textwrap.indent(text, '    ')})"


_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def _constructor(layer: Any) -> list[inspect.Parameter]:
    try:
        return [*inspect.signature(type(layer)).parameters.values()]
    except (TypeError, ValueError):  # no Python function
        return []


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (bool, int, float, str))


def _attribute(layer: Any, name: str) -> Any:
    try:
        return getattr(layer, name)
    except Exception:  # there is none, or it is a property that fails
        return UNKNOWN


def _holds_layers(value: Any) -> bool:
    if isinstance(value, dict):
        value = list(value.values())
    return hasattr(value, "named_layers") or (
        isinstance(value, (list, tuple)) and any(_holds_layers(item) for item in value)
    )


def _equal(value: Any, default: Any) -> bool:
    try:
        return bool(value is default or value == default)
    except Exception:  # an array
        return False


def _written(value: Any) -> str:
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"<array of {tuple(value.shape)}>"
    try:
        text = repr(value)
    except Exception:
        return f"<{type(value).__name__}>"
    return text if len(text) <= LONGEST or isinstance(value, tuple) else f"{text[:LONGEST]}..."
