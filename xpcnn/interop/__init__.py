"""Weights and networks that travel: to and from PyTorch, ONNX and the book's programs."""

import importlib
from typing import Any

__all__ = ["book", "onnx", "torch"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return importlib.import_module(f"xpcnn.interop.{name}")
    raise AttributeError(f"module 'xpcnn.interop' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
