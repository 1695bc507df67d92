"""Which layer of the package a layer is."""

from xpcnn.errors import CheckpointError
from xpcnn.layers import Layer


def kind_of(layer: Layer, who: str) -> type[Layer]:
    """Return the package's class of a layer: for a layer of a user's class, the class that it derives from.

    Raises
    ------
    CheckpointError
        If the user's class has a forward of its own: the base class's formula would be another.
    """
    kind: type[Layer] = next(kind for kind in type(layer).__mro__ if kind.__module__.startswith("xpcnn."))
    if kind is not Layer and type(layer).forward is not kind.forward:
        raise CheckpointError(
            f"{who}: {layer} has a forward() of its own, so it is no {kind.__name__}; compose it of layers of "
            "xpcnn.layers, or take it out of the model"
        )
    return kind
