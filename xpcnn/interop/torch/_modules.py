"""The layers that PyTorch has no module for, as modules; they are made when PyTorch is there."""

from functools import cache
from typing import Any, NamedTuple

from xpcnn.errors import ExtraError


class Modules(NamedTuple):
    """Classes, each a ``torch.nn.Module``."""

    Residual: Any
    Product: Any
    Sum: Any
    Parallel: Any
    Auxiliary: Any
    AveragePool: Any
    PadChannels: Any
    ChannelScale: Any
    PartialConv: Any
    RadialBasis: Any


def require_torch() -> Any:
    """Import PyTorch, or raise ExtraError with the command that installs it."""
    try:
        import torch
    except ModuleNotFoundError as error:
        raise ExtraError("PyTorch is not installed; run: pip install torch") from error
    return torch


@cache
def modules() -> Modules:
    """Return the classes. Their formulas are those of our layers of the same names."""
    torch = require_torch()
    Module, functional = torch.nn.Module, torch.nn.functional

    class Residual(Module):  # type: ignore[misc, valid-type]
        def __init__(self, body: Any, shortcut: Any) -> None:
            super().__init__()
            self.body, self.shortcut = body, shortcut

        def forward(self, x: Any) -> Any:
            return self.body(x) + self.shortcut(x)

    class Product(Module):  # type: ignore[misc, valid-type]
        def __init__(self, gate: Any, body: Any) -> None:
            super().__init__()
            self.gate, self.body = gate, body

        def forward(self, x: Any) -> Any:
            y, gate = self.body(x), self.gate(x)
            return y * gate.reshape(*gate.shape, *[1] * (y.ndim - gate.ndim))

    class Sum(torch.nn.ModuleDict):  # type: ignore[misc, name-defined]
        def forward(self, x: Any) -> Any:
            return sum(branch(x) for branch in self.values())

    class Parallel(torch.nn.ModuleDict):  # type: ignore[misc, name-defined]
        def forward(self, x: Any) -> Any:
            return torch.cat([branch(x) for branch in self.values()], dim=1)

    class Auxiliary(torch.nn.ModuleDict):  # type: ignore[misc, name-defined]
        """Of trunk0, trunk1, ... and head0, ..., one fewer."""

        def forward(self, x: Any) -> Any:
            sides = []
            for index in range(len(self) // 2):
                x = self[f"trunk{index}"](x)
                if self.training:
                    sides.append(self[f"head{index}"](x))
            y = self[f"trunk{len(self) // 2}"](x)
            return [y, *sides] if sides else y

    class AveragePool(Module):  # type: ignore[misc, valid-type]
        """The sum of each window of an image with unequal borders, by the pixels counted: (OH,OW)."""

        def __init__(self, size: Any, stride: Any, borders: Any, counts: Any) -> None:
            super().__init__()
            self.size, self.stride, self.borders = size, stride, borders
            self.register_buffer("inverse", 1 / counts, persistent=False)

        def forward(self, x: Any) -> Any:
            padded = functional.pad(x, self.borders)
            return functional.avg_pool2d(padded, self.size, self.stride, divisor_override=1) * self.inverse

    class PadChannels(Module):  # type: ignore[misc, valid-type]
        def __init__(self, extra: int) -> None:
            super().__init__()
            self.extra = extra

        def forward(self, x: Any) -> Any:
            return functional.pad(x, (0, 0) * (x.ndim - 2) + (0, self.extra))

    class ChannelScale(Module):  # type: ignore[misc, valid-type]
        def __init__(self, weight: Any, bias: Any) -> None:
            super().__init__()
            self.weight, self.bias = torch.nn.Parameter(weight), torch.nn.Parameter(bias)

        def forward(self, x: Any) -> Any:
            shape = (1, -1, *(1,) * (x.ndim - 2))
            return x * self.weight.view(shape) + self.bias.view(shape)

    class PartialConv(Module):  # type: ignore[misc, valid-type]
        def __init__(
            self, weight: Any, bias: Any, places: Any, shape: Any, stride: Any, borders: Any
        ) -> None:
            super().__init__()
            self.weight, self.bias = torch.nn.Parameter(weight), torch.nn.Parameter(bias)
            self.shape, self.stride, self.borders = shape, stride, borders
            self.register_buffer("places", places, persistent=False)

        def forward(self, x: Any) -> Any:
            empty = self.weight.new_zeros(self.shape)
            filters = empty.index_put(tuple(self.places), self.weight)
            return functional.conv2d(functional.pad(x, self.borders), filters, self.bias, self.stride)

    class RadialBasis(Module):  # type: ignore[misc, valid-type]
        def __init__(self, centers: Any) -> None:
            super().__init__()
            self.register_buffer("centers", centers)

        def forward(self, x: Any) -> Any:
            return -(x[:, None] - self.centers).square().sum(dim=2)

    return Modules(
        Residual,
        Product,
        Sum,
        Parallel,
        Auxiliary,
        AveragePool,
        PadChannels,
        ChannelScale,
        PartialConv,
        RadialBasis,
    )
