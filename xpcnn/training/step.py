"""One step of training: the output, its loss, the gradients, the update."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from xpcnn.layers import Layer
from xpcnn.optimizers import Optimizer

After: TypeAlias = Callable[[str, Any], object]


def step(
    model: Layer,
    criterion: Any,
    optimizer: Optimizer,
    images: Any,
    targets: Any,
    after: After | None = None,
) -> Any:
    """Train on one batch, which is on the device; return its loss, also on the device.

    Parameters
    ----------
    after : function of (phase, value) or None
        It is called after each part of the step: ("forward", y), ("loss", loss), ("loss backward", dL/dy),
        ("backward", None) and ("update", None). To measure, to record, or to raise before the weights change.
    """
    after = after or _nothing
    y = model(images)
    after("forward", y)
    loss = criterion(y, targets)
    after("loss", loss)
    dy = criterion.backward()
    after("loss backward", dy)
    model.backward(dy, need_dx=False)  # nobody reads the gradient of the images
    after("backward", None)
    optimizer.step()
    after("update", None)
    return loss


def _nothing(phase: str, value: Any) -> None:
    pass
