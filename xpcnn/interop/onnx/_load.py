"""An ONNX file as layers that train."""

from os import PathLike
from pathlib import Path
from typing import Any

from xpcnn.errors import CheckpointError
from xpcnn.interop.onnx._branches import Branches
from xpcnn.interop.onnx._graph import Graph
from xpcnn.interop.onnx._node import first_line
from xpcnn.interop.onnx._written import require_onnx
from xpcnn.layers import Layer

LARGEST = 2**31
"""Bytes of a file: protobuf reads no larger message."""

OLDEST = 7
"""The oldest operator set that is read, as by onnxruntime."""


def load(file: str | PathLike[str]) -> Layer:
    """Read an ONNX file into layers, in evaluation mode; `train()` and they learn on.

    What the layers compute is what the file says; whatever they cannot say is refused. A file in double precision
    gives layers in float64.

    Raises
    ------
    CheckpointError
        If `onnx` is not installed, the file is missing, damaged or too large, or its graph is none that our layers can
        say: the first operator that we do not know, or whose attributes or operands we do not, is named.
    """
    onnx = require_onnx()
    if not Path(file).is_file():
        raise CheckpointError(f"{file}: no such file; xpcnn export WEIGHTS --onnx FILE writes one")
    if (size := Path(file).stat().st_size) > LARGEST:
        raise CheckpointError(
            f"{file}: has {size:,} bytes, and an ONNX file has up to {LARGEST:,}; export it again"
        )
    try:
        onnx.checker.check_model(str(file))
        proto = onnx.load(str(file))
        if proto.functions:
            import onnx.inliner

            proto = onnx.inliner.inline_local_functions(proto)
    except Exception as error:  # protobuf's and the checker's own kinds
        raise _damaged(file, error) from error
    try:
        return Branches(Graph(proto, str(file), _opset(proto, str(file)))).model().eval()
    except CheckpointError:
        raise
    except Exception as error:  # the checker lets arrays without their numbers pass
        raise _damaged(file, error) from error


def _damaged(file: str | PathLike[str], error: Exception) -> CheckpointError:
    return CheckpointError(
        f"{file}: expected an ONNX model, but reading it failed ({first_line(error)}); export it again"
    )


def _opset(proto: Any, file: str) -> int:
    newest = require_onnx().defs.onnx_opset_version()
    versions = [opset.version for opset in proto.opset_import if opset.domain in ("", "ai.onnx")]
    if len(versions) != 1 or not OLDEST <= versions[0] <= newest:
        raise CheckpointError(
            f"{file}: it is in operator set {' and '.join(map(str, versions)) or 'none'}, and {OLDEST} to {newest} are "
            "read; export it with another opset_version, or convert it with onnx.version_converter"
        )
    return int(versions[0])
