"""A network of ours as one of PyTorch's: the same layers and, at the start, the same weights."""

from collections import OrderedDict
from functools import singledispatchmethod
from typing import Any

import numpy as np

from xpcnn import layers
from xpcnn.backend import to_host
from xpcnn.errors import CheckpointError
from xpcnn.geometry import Padding
from xpcnn.interop.torch._modules import modules, require_torch
from xpcnn.layers import Layer
from xpcnn.layers.shapes import Shape
from xpcnn.models.lenet5_1998 import _PartialConv, _RadialBasis
from xpcnn.ops.pooling import pixel_count


def network(model: Layer, input_shape: Shape) -> Any:
    """Build a ``torch.nn.Module`` that computes what `model` computes; its weights are copies.

    It is in the mode, training or evaluation, that the model is in. PyTorch's own modules are used wherever there is
    one; their order is the model's, so what PyTorch has trained goes back by
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
        For an input_shape that the model does not take.
    """
    if not all(hasattr(size, "__index__") for size in input_shape):
        raise CheckpointError(
            f"torch_network: {model} reads several inputs, {tuple(input_shape)}, and only networks of one are built; "
            "build its branches one by one"
        )
    model.output_shape(input_shape)
    return Builder().module(model, tuple(input_shape)).train(model.training)


class Builder:
    """`build` says how each kind of layer is built."""

    def __init__(self) -> None:
        self.torch = require_torch()
        self.nn = self.torch.nn
        self.own = modules()
        self.built: dict[int, tuple[Shape, Any]] = {}

    def module(self, layer: Layer, shape: Shape) -> Any:
        """Return the module of a layer: one and the same where a layer with weights stands in several places."""
        if not [*layer.named_parameters(), *layer.named_buffers()]:
            return self.build(layer, shape)
        known, module = self.built.setdefault(id(layer), (shape, None))
        if known != shape:
            raise CheckpointError(
                f"torch_network: {layer} stands where its input is {known} and where it is {shape}; a module that "
                "learns in both places is made for one size of image: give both equal sizes, or pass layer.copy()"
            )
        if module is None:
            module = self.build(layer, shape)
            self.built[id(layer)] = shape, module
        return module

    @singledispatchmethod
    def build(self, layer: Layer, shape: Shape) -> Any:
        """Return a module for a layer whose input, of one sample, has this shape."""
        raise CheckpointError(f"torch_network: {layer} has no module in PyTorch; take it out of the model")

    @build.register
    def _(self, layer: layers.Sequential, shape: Shape) -> Any:
        return self.nn.Sequential(self._chain(layer.children(), shape))

    @build.register
    def _(self, layer: layers.Residual, shape: Shape) -> Any:
        return self.own.Residual(self.module(layer.body, shape), self.module(layer.shortcut, shape))

    @build.register
    def _(self, layer: layers.Parallel, shape: Shape) -> Any:
        return self.own.Parallel({name: self.module(branch, shape) for name, branch in layer.children()})

    @build.register
    def _(self, layer: layers.Sum, shape: Shape) -> Any:
        return self.own.Sum({name: self.module(branch, shape) for name, branch in layer.children()})

    @build.register
    def _(self, layer: layers.Product, shape: Shape) -> Any:
        return self.own.Product(self.module(layer.gate, shape), self.module(layer.body, shape))

    @build.register
    def _(self, layer: layers.Reshape, shape: Shape) -> Any:
        return self.nn.Sequential(self.nn.Flatten(), self.nn.Unflatten(1, layer.output_shape(shape)))

    @build.register
    def _(self, layer: layers.LeakyReLU, shape: Shape) -> Any:
        return self.nn.LeakyReLU(layer.slope)

    @build.register
    def _(self, layer: layers.Clip, shape: Shape) -> Any:
        return self.nn.Hardtanh(layer.low, layer.high)

    @build.register
    def _(self, layer: layers.Auxiliary, shape: Shape) -> Any:
        pieces = self._chain(((f"trunk{i}", piece) for i, piece in enumerate(layer.trunk)), shape)
        for i, head in enumerate(layer.heads):
            shape = layer.trunk[i].output_shape(shape)
            pieces[f"head{i}"] = self.module(head, shape)
        return self.own.Auxiliary(pieces)

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
            window.dilation, layer.groups, bias=layer.bias is not None,
        )  # fmt: skip
        weight = layer.weight.data[:, :, ::-1, ::-1] if layer.flip_kernel else layer.weight.data
        self._fill(conv, weight, layer.bias)
        if _equal(borders):
            return conv
        return self.nn.Sequential(self.nn.ZeroPad2d(_left_to_bottom(borders)), conv)

    @build.register
    def _(self, layer: layers.ConvTranspose, shape: Shape) -> Any:
        window = layer.window
        cut = window.pads(*layer.output_shape(shape)[1:])
        conv = self.nn.ConvTranspose2d(
            layer.in_channels, layer.out_channels, window.size, window.stride, _equal(cut) or 0, layer.output_padding,
            layer.groups, layer.bias is not None, window.dilation,
        )  # fmt: skip
        self._fill(conv, layer.weight.data, layer.bias)
        if _equal(cut):
            return conv
        return self.nn.Sequential(conv, self.nn.ZeroPad2d([-count for count in _left_to_bottom(cut)]))

    @build.register
    def _(self, layer: layers.Upsample, shape: Shape) -> Any:
        factors = tuple(b // a for a, b in zip(shape[1:], layer.output_shape(shape)[1:], strict=True))
        lines = layer.mode == "bilinear"
        return self.nn.Upsample(scale_factor=factors, mode=layer.mode, align_corners=False if lines else None)

    @build.register
    def _(self, layer: _PartialConv, shape: Shape) -> Any:
        filters = (len(layer.connections), layer.in_channels, *layer.window.size)
        places = self._tensor(layer.places.data).long()
        borders = _left_to_bottom(layer.window.borders(*shape[1:]))
        weight, bias = self._tensor(layer.weight.data), self._tensor(layer.bias.data)
        return self.own.PartialConv(weight, bias, places, filters, layer.window.stride, borders)

    @build.register
    def _(self, layer: layers.Pooling, shape: Shape) -> Any:
        window, (H, W) = layer.window, shape[1:]
        padding, ceil = _equal(window.pads(H, W)), window.rounding == "ceil"
        native = padding is not None and all(  # more than half a window PyTorch refuses
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
        counts = self._tensor(pixel_count((H, W), window, layer.count_include_pad)).float()
        return self.own.AveragePool(window.size, window.stride, borders, counts)

    @build.register
    def _(self, layer: layers.GlobalAveragePooling, shape: Shape) -> Any:
        return self.nn.Sequential(self.nn.AdaptiveAvgPool2d(1), self.nn.Flatten())

    @build.register
    def _(self, layer: layers.GlobalMaxPooling, shape: Shape) -> Any:
        return self.nn.Sequential(self.nn.AdaptiveMaxPool2d(1), self.nn.Flatten())

    @build.register
    def _(self, layer: layers.Affine, shape: Shape) -> Any:
        linear = self.nn.Linear(layer.in_features, layer.out_features, bias=layer.bias is not None)
        return self._fill(linear, layer.weight.data, layer.bias)

    @build.register
    def _(self, layer: layers.BatchNorm, shape: Shape) -> Any:
        kind = {1: self.nn.BatchNorm1d, 2: self.nn.BatchNorm1d, 3: self.nn.BatchNorm2d}.get(len(shape))
        if kind is None:
            raise CheckpointError(f"torch_network: {layer} on {shape}: PyTorch normalises up to three axes")
        norm = self._fill(kind(layer.channels, layer.eps, layer.momentum), layer.weight.data, layer.bias)
        norm.running_mean.copy_(self._tensor(layer.running_mean.data))
        norm.running_var.copy_(self._tensor(layer.running_variance.data))
        return norm

    @build.register
    def _(self, layer: layers.GroupNorm, shape: Shape) -> Any:
        norm = self.nn.GroupNorm(layer.groups, layer.channels, layer.eps)
        return self._fill(norm, layer.weight.data, layer.bias)

    @build.register
    def _(self, layer: layers.LayerNorm, shape: Shape) -> Any:
        return self._fill(self.nn.LayerNorm(layer.shape, layer.eps), layer.weight.data, layer.bias)

    @build.register
    def _(self, layer: layers.LocalResponseNorm, shape: Shape) -> Any:
        return self.nn.LocalResponseNorm(layer.size, layer.alpha, layer.beta, layer.k)

    @build.register
    def _(self, layer: layers.Scale, shape: Shape) -> Any:
        return self.own.ChannelScale(self._tensor(layer.weight.data), self._tensor(layer.bias.data))

    @build.register
    def _(self, layer: _RadialBasis, shape: Shape) -> Any:
        return self.own.RadialBasis(self._tensor(layer.centers.data))

    @build.register
    def _(self, layer: layers.PadChannels, shape: Shape) -> Any:
        return self.own.PadChannels(layer.extra)

    @build.register
    def _(self, layer: layers.Dropout, shape: Shape) -> Any:
        return self.nn.Dropout(layer.p)

    @build.register
    def _(self, layer: layers.Softmax, shape: Shape) -> Any:
        return self.nn.Softmax(dim=layer.axis)

    @build.register(layers.ReLU)
    @build.register(layers.GELU)
    @build.register(layers.SiLU)
    @build.register(layers.Sigmoid)
    @build.register(layers.Tanh)
    @build.register(layers.Flatten)
    @build.register(layers.Identity)
    def _(self, layer: Layer, shape: Shape) -> Any:
        return getattr(self.nn, type(layer).__name__)()

    def _chain(self, children: Any, shape: Shape) -> "OrderedDict[str, Any]":
        built: OrderedDict[str, Any] = OrderedDict()
        for name, child in children:
            built[name], shape = self.module(child, shape), child.output_shape(shape)
        return built

    def _fill(self, module: Any, weight: Any, bias: Any) -> Any:
        """Give a module copies of our weight and, where there is one, our bias; return the module."""
        values = self._tensor(weight)
        module.to(values.dtype)
        with self.torch.no_grad():
            module.weight.copy_(values)
            if bias is not None:
                module.bias.copy_(self._tensor(bias.data))
        return module

    def _tensor(self, values: Any) -> Any:
        return self.torch.from_numpy(np.array(to_host(values), order="C"))


def _equal(borders: Padding) -> tuple[int, int] | None:
    """Return a padding that is the same on opposite sides as (height, width), another as None."""
    (top, bottom), (left, right) = borders
    return (top, left) if (top, left) == (bottom, right) else None


def _left_to_bottom(borders: Padding) -> tuple[int, int, int, int]:
    """Return a padding in PyTorch's order."""
    (top, bottom), (left, right) = borders
    return left, right, top, bottom
