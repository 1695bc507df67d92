"""Networks to and from ONNX, the format that other programs run. Needs the extra ``xpcnn[onnx]``.

`_export` writes a model, layer by layer. `_load` reads a file in four steps: `_graph` goes through the operators in
order, `_fold` computes what depends on constants only, `_layers` and the modules beside it say which layers an
operator becomes, and `_branches` takes the graph apart into Sequential, Residual, Sum, Parallel and Product.
"""

from xpcnn.interop.onnx._export import export
from xpcnn.interop.onnx._load import load

__all__ = ["export", "load"]
