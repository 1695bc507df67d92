"""Activations other than ReLU, each in one launch: the kernel takes the kind, and up to two numbers."""

from typing import Any

from xpcnn.kernels.cuda.launch import Device

KINDS = ("leaky_relu", "clip", "sigmoid", "tanh", "silu", "gelu")
"""In the order of `enum Kind` in activation.cu."""


def leaky_relu(device: Device, x: Any, slope: float) -> Any:
    """Substitute for `xpcnn.ops.leaky_relu`."""
    return _forward(device, "leaky_relu", x, slope)


def leaky_relu_backward(device: Device, dy: Any, x: Any, slope: float) -> Any:
    """Substitute for `xpcnn.ops.leaky_relu_backward`."""
    return _backward(device, "leaky_relu", dy, x, slope)


def clip(device: Device, x: Any, low: float, high: float) -> Any:
    """Substitute for `xpcnn.ops.clip`."""
    return _forward(device, "clip", x, low, high)


def clip_backward(device: Device, dy: Any, x: Any, low: float, high: float) -> Any:
    """Substitute for `xpcnn.ops.clip_backward`."""
    return _backward(device, "clip", dy, x, low, high)


def sigmoid(device: Device, x: Any) -> Any:
    """Substitute for `xpcnn.ops.sigmoid`."""
    return _forward(device, "sigmoid", x)


def sigmoid_backward(device: Device, dy: Any, y: Any) -> Any:
    """Substitute for `xpcnn.ops.sigmoid_backward`."""
    return _backward(device, "sigmoid", dy, y)


def tanh(device: Device, x: Any) -> Any:
    """Substitute for `xpcnn.ops.tanh`."""
    return _forward(device, "tanh", x)


def tanh_backward(device: Device, dy: Any, y: Any) -> Any:
    """Substitute for `xpcnn.ops.tanh_backward`."""
    return _backward(device, "tanh", dy, y)


def silu(device: Device, x: Any) -> Any:
    """Substitute for `xpcnn.ops.silu`."""
    return _forward(device, "silu", x)


def silu_backward(device: Device, dy: Any, x: Any) -> Any:
    """Substitute for `xpcnn.ops.silu_backward`."""
    return _backward(device, "silu", dy, x)


def gelu(device: Device, x: Any) -> Any:
    """Substitute for `xpcnn.ops.gelu`."""
    return _forward(device, "gelu", x)


def gelu_backward(device: Device, dy: Any, x: Any) -> Any:
    """Substitute for `xpcnn.ops.gelu_backward`."""
    return _backward(device, "gelu", dy, x)


def _forward(device: Device, kind: str, x: Any, a: float = 0.0, b: float = 0.0) -> Any:
    (x,) = device.contiguous(x)
    y = device.xp.empty(x.shape, x.dtype)
    device.launch("activation", x.size, x=x, y=y, kind=KINDS.index(kind), a=a, b=b, size=x.size)
    return y


def _backward(device: Device, kind: str, dy: Any, value: Any, a: float = 0.0, b: float = 0.0) -> Any:
    dy, value = device.contiguous(dy, value)
    dx = device.xp.empty(dy.shape, dy.dtype)
    numbers = {"kind": KINDS.index(kind), "a": a, "b": b, "size": dy.size}
    device.launch("activation_backward", dy.size, dy=dy, value=value, dx=dx, **numbers)
    return dx
