"""Networks to and from ONNX, the format that other programs run. Needs the extra ``xpcnn[onnx]``."""

from xpcnn.interop.onnx_export import export
from xpcnn.interop.onnx_import import load

__all__ = ["export", "load"]
