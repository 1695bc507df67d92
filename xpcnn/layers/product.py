"""The product of two branches: squeeze-and-excitation, and activations that multiply x by a gate."""

from collections.abc import Iterator

from xpcnn import ops
from xpcnn.backend import Array
from xpcnn.errors import ShapeError
from xpcnn.layers.base import Layer
from xpcnn.layers.containers import Container
from xpcnn.layers.reshape import Identity
from xpcnn.layers.shapes import Shape


class Product(Container):
    """A body times a gate: y = body(x) gate(x), elementwise or channel by channel.

    The gate gives the body's shape, or one number a channel, (N,C) or (N,C,1,1), by which all pixels of the
    channel are multiplied. Then dbody = dy gate(x), and dgate = dy body(x), summed over the pixels of a channel.

    Parameters
    ----------
    gate : Layer
    body : Layer, default Identity()

    Raises
    ------
    ShapeError
        In forward, if the gate gives another shape than those.

    References
    ----------
    Hu, Shen and Sun, "Squeeze-and-Excitation Networks", CVPR 2018, equation 4.

    Examples
    --------
    >>> from xpcnn.layers import Affine, GlobalAveragePooling, ReLU, Sequential, Sigmoid
    >>> squeeze = Sequential(GlobalAveragePooling(), Affine(8, 2), ReLU(), Affine(2, 8), Sigmoid())
    >>> Product(squeeze).output_shape((8, 14, 14))
    (8, 14, 14)
    """

    def __init__(self, gate: Layer, body: Layer | None = None) -> None:
        self.gate, self.body = self._only_layers(gate, Identity() if body is None else body)

    def forward(self, x: Array) -> Array:
        y = self.body.forward(x)
        gate = self.gate.forward(x)
        self._check(y.shape[1:], gate.shape[1:])
        self.save_for_backward(y, gate)
        return ops.product(y, gate)

    def backward(self, dy: Array, need_dx: bool = True) -> Array | None:
        dbody, dgate = ops.product_backward(dy, *self.pop_saved())
        bypass = self.gate.backward(dgate, need_dx)
        dx = self.body.backward(dbody, need_dx)
        return None if dx is None or bypass is None else dx + bypass

    def output_shape(self, input_shape: Shape) -> Shape:
        shape = self.body.output_shape(input_shape)
        self._check(shape, self.gate.output_shape(input_shape))
        return shape

    def walk(self, input_shape: Shape, name: str = "") -> Iterator[tuple[str, Layer, Shape]]:
        for child, layer in self.children():
            yield from layer.walk(input_shape, f"{name}.{child}" if name else child)

    def _check(self, body: Shape, gate: Shape) -> None:
        if gate not in (body, body[:1], (*body[:1], *[1] * len(body[1:]))):
            raise ShapeError(
                f"Product: body gives {tuple(body)}, gate {tuple(gate)}; the gate must give the same shape, or one "
                f"number a channel, {tuple(body[:1])}: end it with Affine(..., {body[0] if body else 1})"
            )
