"""What PyTorch has no module for, as modules; the classes are made when PyTorch is there."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple

from xpcnn.errors import ExtraError


class Modules(NamedTuple):
    """Classes, each a ``torch.nn.Module``."""

    Branches: Any
    Auxiliary: Any
    Formula: Any


def require_torch() -> Any:
    """Import PyTorch, or raise ExtraError with the command that installs it."""
    try:
        import torch
    except ModuleNotFoundError as error:
        raise ExtraError("PyTorch is not installed; run: pip install torch") from error
    return torch


@cache
def modules() -> Modules:
    """Return the classes."""
    torch = require_torch()

    class Branches(torch.nn.ModuleDict):  # type: ignore[misc, name-defined]
        """Several modules on one input, by name, and a function that joins the list of their outputs."""

        def __init__(self, branches: Mapping[str, Any], join: Callable[[list[Any]], Any]) -> None:
            super().__init__(branches)
            self.join = join

        def forward(self, x: Any) -> Any:
            return self.join([branch(x) for branch in self.values()])

    class Auxiliary(torch.nn.ModuleDict):  # type: ignore[misc, name-defined]
        """trunk0, trunk1, ... and head0, ..., one fewer: in training the outputs of the heads follow y in a list."""

        def forward(self, x: Any) -> Any:
            sides = []
            for index in range(len(self) // 2):
                x = self[f"trunk{index}"](x)
                if self.training:
                    sides.append(self[f"head{index}"](x))
            y = self[f"trunk{len(self) // 2}"](x)
            return [y, *sides] if sides else y

    class Formula(torch.nn.Module):  # type: ignore[misc, name-defined]
        """y = function(module, x) with parameters, buffers, and constants that the state dict leaves out."""

        def __init__(
            self,
            function: Callable[[Any, Any], Any],
            parameters: Mapping[str, Any] = {},
            buffers: Mapping[str, Any] = {},
            constants: Mapping[str, Any] = {},
        ) -> None:
            super().__init__()
            self.function = function
            for name, values in parameters.items():
                self.register_parameter(name, torch.nn.Parameter(values))
            for name, values in {**buffers, **constants}.items():
                self.register_buffer(name, values, persistent=name in buffers)

        def forward(self, x: Any) -> Any:
            return self.function(self, x)

    return Modules(Branches, Auxiliary, Formula)
