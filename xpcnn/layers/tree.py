"""Where a layer keeps others: in attributes, lists, tuples and dictionaries, by names with dots."""

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from xpcnn.errors import DtypeError, ShapeError

T = TypeVar("T")

HOLDERS = list, tuple, dict, set, frozenset
"""Types of values that may hold others."""


def dotted(prefix: str, name: str) -> str:
    """Join two names.

    >>> dotted("", "conv1"), dotted("blocks.0", "conv1")
    ('conv1', 'blocks.0.conv1')
    """
    return f"{prefix}.{name}" if prefix else name


def found(name: str, value: Any, kind: type[T]) -> Iterator[tuple[str, T]]:
    """Iterate over (dotted name, object) for each object of a kind in a value, however deep in lists and the like.

    Raises
    ------
    DtypeError
        For one in a set, which has no order: then nothing has a fixed name.

    >>> list(found("blocks", [3, {"left": 5}], int))
    [('blocks.0', 3), ('blocks.1.left', 5)]
    """
    if isinstance(value, kind):
        yield name, value
    elif isinstance(value, (list, tuple, dict)):
        wanted = (kind, *HOLDERS)
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            if isinstance(item, wanted):
                yield from found(f"{name}.{key}", item, kind)
    elif isinstance(value, (set, frozenset)) and any(isinstance(item, kind) for item in value):
        raise DtypeError(
            f"{name}: a set of {kind.__name__} objects has no order; keep them in a list, a tuple or a dictionary"
        )


def replaced(value: Any, path: list[str], new: Any) -> Any:
    """Return the value with `new` at a path of names; lists and dictionaries are changed in place, tuples rebuilt."""
    if not path:
        return new
    first, *rest = path
    if isinstance(value, list):
        value[int(first)] = replaced(value[int(first)], rest, new)
    elif isinstance(value, tuple):
        items = list(value)
        items[int(first)] = replaced(items[int(first)], rest, new)
        return tuple(items)
    elif isinstance(value, dict):
        key = next(key for key in value if str(key) == first)
        value[key] = replaced(value[key], rest, new)
    else:
        value[".".join(path)] = new
    return value


def resolve(name: str, names: Iterable[str], who: object) -> str:
    """Return the full name for a name: itself, or the only full name that has its components in the same order.

    So the names of containers in between may be left out. The first and the last component must be equal.

    Raises
    ------
    ShapeError
        If no name fits, or several do.

    >>> resolve("layer1.0.conv1", ["conv1", "layer1.0.body.conv1", "layer1.1.body.conv1"], "model")
    'layer1.0.body.conv1'
    """
    known = [full for full in names if full]
    if name in known:
        return name
    parts = name.split(".")
    fitting = [full for full in known if _abbreviates(parts, full.split("."))]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise ShapeError(
            f"{who}: {name!r} may be any of {', '.join(fitting[:4])}; write one of these names in full"
        )
    shown = ", ".join(known[:8]) + (", ..." if len(known) > 8 else "")
    raise ShapeError(f"{who}: there is no layer {name!r} in it; its layers are: {shown or 'none'}")


def _abbreviates(parts: list[str], full: list[str]) -> bool:
    rest = iter(full)
    return parts[0] == full[0] and parts[-1] == full[-1] and all(part in rest for part in parts)
