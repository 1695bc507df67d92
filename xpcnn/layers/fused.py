"""Two layers, one after the other in a `Sequential`, that one op computes."""

from collections.abc import Iterator
from typing import Any

from xpcnn import ops
from xpcnn.backend import Array
from xpcnn.layers.activation import ReLU
from xpcnn.layers.base import Layer
from xpcnn.layers.pooling import Pooling
from xpcnn.layers.shapes import Shape


class ReLUPooling(Layer):
    """max_pool(relu(x)): a ReLU and the max pooling after it, by `ops.relu_max_pool`."""

    def __init__(self, relu: ReLU, pooling: Pooling) -> None:
        self.relu, self.pooling = relu, pooling

    def forward(self, x: Array) -> Array:
        self.pooling.check(x)
        y, winner = ops.relu_max_pool(x, self.pooling.window)
        self.save_for_backward(y, winner, x.shape[2:])
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Array | None:
        y, winner, image_size = self.pop_saved()
        if not need_dx:
            return None
        return ops.relu_max_pool_backward(dy, y, winner, image_size, self.pooling.window)

    def output_shape(self, input_shape: Shape) -> Shape:
        return self.pooling.output_shape(input_shape)

    def walk(self, input_shape: Shape, name: str = "") -> Iterator[tuple[str, Layer, Shape]]:
        before, dot, both = name.rpartition(".")
        for single, layer in zip(both.split("+"), (self.relu, self.pooling), strict=True):
            yield before + dot + single, layer, input_shape

    def step_children(self) -> Iterator[tuple[str, Layer]]:
        return iter(())

    def __format__(self, spec: str) -> str:
        return format(f"{self.relu} + {self.pooling}", spec)


def fused(one: Any, following: Any) -> Layer | None:
    """Return the layer that computes two layers at once, if there is one; not for subclasses, which may differ."""
    if type(one) is ReLU and type(following) is Pooling and following.mode == "max":
        return ReLUPooling(one, following)
    return None
