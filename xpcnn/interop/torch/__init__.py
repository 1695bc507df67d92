"""Weights from and to PyTorch, and a model as a `torch.nn.Module`."""

from xpcnn.interop.torch._names import RULES, torch_name
from xpcnn.interop.torch._network import network
from xpcnn.interop.torch._weights import load, save

__all__ = [
    "RULES",
    "load",
    "network",
    "save",
    "torch_name",
]
