"""A network of ours as one of PyTorch's: the same layers and, at the start, the same weights."""

from collections import OrderedDict
from functools import singledispatchmethod
from typing import Any

import numpy as np

from xpcnn import layers
from xpcnn.backend import to_host
from xpcnn.errors import CheckpointError
from xpcnn.geometry import Padding
from xpcnn.interop._kinds import kind_of
from xpcnn.interop.torch._modules import modules, require_torch
from xpcnn.layers import Layer
from xpcnn.layers.shapes import Shape
from xpcnn.models.lenet5_1998 import _PartialConv, _RadialBasis
from xpcnn.ops.pooling import pixel_count

MODULES: dict[type[Layer], tuple[str, ...]] = {
    layers.Affine: ("Linear", "in_features", "out_features"),
    layers.Clip: ("Hardtanh", "low", "high"),
    layers.Dropout: ("Dropout", "p"),
    layers.Flatten: ("Flatten",),
    layers.GELU: ("GELU",),
    layers.GroupNorm: ("GroupNorm", "groups", "channels", "eps"),
    layers.Identity: ("Identity",),
    layers.LayerNorm: ("LayerNorm", "shape", "eps"),
    layers.LeakyReLU: ("LeakyReLU", "slope"),
    layers.LocalResponseNorm: ("LocalResponseNorm", "size", "alpha", "beta", "k"),
    layers.ReLU: ("ReLU",),
    layers.SiLU: ("SiLU",),
    layers.Sigmoid: ("Sigmoid",),
    layers.Softmax: ("Softmax", "axis"),
    layers.Tanh: ("Tanh",),
}
"""PyTorch's module for a layer, and the layer's attributes that are its arguments. `Builder.build` has the others."""


def network(model: Layer, input_shape: Shape) -> Any:
    """Build a ``torch.nn.Module`` that computes what `model` computes; its weights are copies.

    It is in the same mode as the model, training or evaluation. PyTorch's own modules are used wherever there is one,
    in the model's order, so weights trained in PyTorch go back with
    ``interop.torch.load(model, network.state_dict())``.

    Parameters
    ----------
    model : Layer
    input_shape : (channels, height, width)
        Of one image: the paddings "same" depend on it.

    Raises
    ------
    ExtraError
        If PyTorch is not installed.
    CheckpointError
        For a layer that PyTorch has no module for; it is named.
    ShapeError
        For an input_shape that does not fit the model.
    """
    if not all(hasattr(size, "__index__") for size in input_shape):
        raise CheckpointError(
            f"torch_network: {model} reads several inputs, {tuple(input_shape)}, and only networks of one are built; "
            "build its branches one by one"
        )
    model.output_shape(input_shape)
    return Builder().module(model, tuple(input_shape)).train(model.training)


class Builder:
    """Builds a module for each layer."""

    def __init__(self) -> None:
        self.torch = require_torch()
        self.nn, self.functional = self.torch.nn, self.torch.nn.functional
        self.own = modules()
        self.built: dict[int, tuple[Shape, Any]] = {}

    def module(self, layer: Layer, shape: Shape) -> Any:
        """Return the module of a layer, the same one wherever a layer with weights is used again."""
        kind_of(layer, "torch_network")
        if not [*layer.named_parameters(), *layer.named_buffers()]:
            return self.build(layer, shape)
        known, module = self.built.setdefault(id(layer), (shape, None))
        if known != shape:
            raise CheckpointError(
                f"torch_network: {layer} is used on inputs of {known} and of {shape}; a module that learns in both "
                "places is made for one size of image: give both equal sizes, or pass layer.copy()"
            )
        if module is None:
            module = self.build(layer, shape)
            self.built[id(layer)] = shape, module
        return module

    @singledispatchmethod
    def build(self, layer: Layer, shape: Shape) -> Any:
        """Return a module for a layer whose input has this shape for one sample."""
        known = MODULES.get(kind_of(layer, "torch_network"))
        if known is None:
            raise CheckpointError(
                f"torch_network: {layer} has no module in PyTorch; take it out of the model"
            )
        name, *attributes = known
        module = getattr(self.nn, name)(*(getattr(layer, attribute) for attribute in attributes))
        return self._fill(module, layer) if hasattr(layer, "weight") else module

    @build.register
    def _(self, layer: layers.Sequential, shape: Shape) -> Any:
        return self.nn.Sequential(self._chain(layer.children(), shape))

    @build.register
    def _(self, layer: layers.Residual, shape: Shape) -> Any:
        branches = {"body": layer.body, "shortcut": layer.shortcut}
        return self._branches(branches.items(), shape, sum)

    @build.register
    def _(self, layer: layers.Parallel, shape: Shape) -> Any:
        return self._branches(layer.children(), shape, lambda outputs: self.torch.cat(outputs, dim=1))

    @build.register
    def _(self, layer: layers.Sum, shape: Shape) -> Any:
        return self._branches(layer.children(), shape, sum)

    @build.register
    def _(self, layer: layers.Product, shape: Shape) -> Any:
        def product(outputs: list[Any]) -> Any:
            gate, y = outputs
            return y * gate.reshape(*gate.shape, *[1] * (y.ndim - gate.ndim))

        return self._branches({"gate": layer.gate, "body": layer.body}.items(), shape, product)

    @build.register
    def _(self, layer: layers.Auxiliary, shape: Shape) -> Any:
        pieces = self._chain(((f"trunk{i}", piece) for i, piece in enumerate(layer.trunk)), shape)
        for i, head in enumerate(layer.heads):
            shape = layer.trunk[i].output_shape(shape)
            pieces[f"head{i}"] = self.module(head, shape)
        return self.own.Auxiliary(pieces)

    @build.register
    def _(self, layer: layers.Reshape, shape: Shape) -> Any:
        return self.nn.Sequential(self.nn.Flatten(), self.nn.Unflatten(1, layer.output_shape(shape)))

    @build.register
    def _(self, layer: layers.Conv, shape: Shape) -> Any:
        if layer.data_format != "NCHW":
            raise CheckpointError(
                f"torch_network: {layer}: PyTorch convolves NCHW; build the model with data_format='NCHW'"
            )
        window = layer.window
        borders = window.borders(*shape[1:])
        conv = self.nn.Conv2d(
            layer.in_channels, layer.out_channels, window.size, window.stride, _equal(borders) or 0,
            window.dilation, layer.groups,
        )  # fmt: skip
        weight = layer.weight.data[:, :, ::-1, ::-1] if layer.flip_kernel else layer.weight.data
        self._fill(conv, layer, weight)
        if _equal(borders):
            return conv
        return self.nn.Sequential(self.nn.ZeroPad2d(_left_to_bottom(borders)), conv)

    @build.register
    def _(self, layer: layers.ConvTranspose, shape: Shape) -> Any:
        window = layer.window
        cut = window.pads(*layer.output_shape(shape)[1:])
        conv = self.nn.ConvTranspose2d(
            layer.in_channels, layer.out_channels, window.size, window.stride, _equal(cut) or 0, layer.output_padding,
            layer.groups, dilation=window.dilation,
        )  # fmt: skip
        self._fill(conv, layer)
        if _equal(cut):
            return conv
        return self.nn.Sequential(conv, self.nn.ZeroPad2d([-count for count in _left_to_bottom(cut)]))

    @build.register
    def _(self, layer: layers.Upsample, shape: Shape) -> Any:
        factors = tuple(b // a for a, b in zip(shape[1:], layer.output_shape(shape)[1:], strict=True))
        align_corners = False if layer.mode == "bilinear" else None
        return self.nn.Upsample(scale_factor=factors, mode=layer.mode, align_corners=align_corners)

    @build.register
    def _(self, layer: layers.Pooling, shape: Shape) -> Any:
        window, (H, W) = layer.window, shape[1:]
        padding, ceil = _equal(window.pads(H, W)), window.rounding == "ceil"
        native = padding is not None and all(  # PyTorch refuses more than half a window
            2 * p <= k for p, k in zip(padding, window.size, strict=True)
        )
        borders = _left_to_bottom(window.borders(H, W))
        if layer.mode == "max" and native:
            return self.nn.MaxPool2d(window.size, window.stride, padding, ceil_mode=ceil)
        if layer.mode == "max":
            pad = self.nn.ConstantPad2d(borders, -np.inf)
            return self.nn.Sequential(pad, self.nn.MaxPool2d(window.size, window.stride))
        if native:
            return self.nn.AvgPool2d(window.size, window.stride, padding, ceil, layer.count_include_pad)

        def average(module: Any, x: Any) -> Any:
            """Divide the sum of each window by the number of pixels counted, (OH, OW)."""
            padded = self.functional.pad(x, borders)
            sums = self.functional.avg_pool2d(padded, window.size, window.stride, divisor_override=1)
            return sums * module.inverse

        counts = self._tensor(pixel_count((H, W), window, layer.count_include_pad)).float()
        return self.own.Formula(average, constants={"inverse": 1 / counts})

    @build.register
    def _(self, layer: layers.GlobalAveragePooling, shape: Shape) -> Any:
        return self.nn.Sequential(self.nn.AdaptiveAvgPool2d(1), self.nn.Flatten())

    @build.register
    def _(self, layer: layers.GlobalMaxPooling, shape: Shape) -> Any:
        return self.nn.Sequential(self.nn.AdaptiveMaxPool2d(1), self.nn.Flatten())

    @build.register
    def _(self, layer: layers.BatchNorm, shape: Shape) -> Any:
        kind = {1: self.nn.BatchNorm1d, 2: self.nn.BatchNorm1d, 3: self.nn.BatchNorm2d}.get(len(shape))
        if kind is None:
            raise CheckpointError(f"torch_network: {layer} on {shape}: PyTorch normalises up to three axes")
        norm = self._fill(kind(layer.channels, layer.eps, layer.momentum), layer)
        norm.running_mean.copy_(self._tensor(layer.running_mean.data))
        norm.running_var.copy_(self._tensor(layer.running_variance.data))
        return norm

    @build.register
    def _(self, layer: layers.Scale, shape: Shape) -> Any:
        def scaled(module: Any, x: Any) -> Any:
            channels = (1, -1, *(1,) * (x.ndim - 2))
            return x * module.weight.view(channels) + module.bias.view(channels)

        return self.own.Formula(scaled, self._weights(layer))

    @build.register
    def _(self, layer: layers.PadChannels, shape: Shape) -> Any:
        pads = (0, 0) * (len(shape) - 1) + (0, layer.extra)
        return self.own.Formula(lambda module, x: self.functional.pad(x, pads))

    @build.register
    def _(self, layer: _PartialConv, shape: Shape) -> Any:
        size = (len(layer.connections), layer.in_channels, *layer.window.size)
        borders = _left_to_bottom(layer.window.borders(*shape[1:]))

        def convolved(module: Any, x: Any) -> Any:
            filters = module.weight.new_zeros(size).index_put(tuple(module.places), module.weight)
            padded = self.functional.pad(x, borders)
            return self.functional.conv2d(padded, filters, module.bias, layer.window.stride)

        places = self._tensor(layer.places.data).long()
        return self.own.Formula(convolved, self._weights(layer), constants={"places": places})

    @build.register
    def _(self, layer: _RadialBasis, shape: Shape) -> Any:
        centers = {"centers": self._tensor(layer.centers.data)}
        return self.own.Formula(
            lambda module, x: -(x[:, None] - module.centers).square().sum(dim=2), buffers=centers
        )

    def _chain(self, children: Any, shape: Shape) -> "OrderedDict[str, Any]":
        built: OrderedDict[str, Any] = OrderedDict()
        for name, child in children:
            built[name], shape = self.module(child, shape), child.output_shape(shape)
        return built

    def _branches(self, children: Any, shape: Shape, join: Any) -> Any:
        return self.own.Branches({name: self.module(branch, shape) for name, branch in children}, join)

    def _fill(self, module: Any, layer: Any, weight: Any = None) -> Any:
        """Give a module copies of our weight (or of `weight`) and, if there is one, our bias; return the module."""
        values = self._tensor(layer.weight.data if weight is None else weight)
        module.to(values.dtype)
        with self.torch.no_grad():
            module.weight.copy_(values)
            if layer.bias is None:
                module.register_parameter("bias", None)
            else:
                module.bias.copy_(self._tensor(layer.bias.data))
        return module

    def _weights(self, layer: Any) -> dict[str, Any]:
        return {name: self._tensor(getattr(layer, name).data) for name in ("weight", "bias")}

    def _tensor(self, values: Any) -> Any:
        return self.torch.from_numpy(np.array(to_host(values), order="C"))


def _equal(borders: Padding) -> tuple[int, int] | None:
    """Return a padding with equal opposite sides as (height, width), any other as None."""
    (top, bottom), (left, right) = borders
    return (top, left) if (top, left) == (bottom, right) else None


def _left_to_bottom(borders: Padding) -> tuple[int, int, int, int]:
    """Return a padding in PyTorch's order."""
    (top, bottom), (left, right) = borders
    return left, right, top, bottom
