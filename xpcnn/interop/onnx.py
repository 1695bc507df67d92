"""Networks to and from ONNX, the format that other programs run. Needs the extra ``xpcnn[onnx]``."""

from os import PathLike
from pathlib import Path

from xpcnn.errors import CheckpointError, XpcnnError
from xpcnn.interop import onnx_import
from xpcnn.interop.onnx_export import export
from xpcnn.layers import Layer

__all__ = ["export", "load"]

LARGEST = 2**31
"""Bytes of a file: protobuf reads no larger message."""


def load(file: str | PathLike[str]) -> Layer:
    """Read an ONNX file into layers, in evaluation mode; `train()` and they learn on.

    Raises
    ------
    CheckpointError
        If `onnx` is not installed, the file is missing, damaged or too large, or its graph is none that our layers can
        say: the first operator that we do not know, or whose attributes we do not, is named.
    """
    if Path(file).is_file() and (size := Path(file).stat().st_size) > LARGEST:
        raise CheckpointError(
            f"{file}: has {size:,} bytes, and an ONNX file has up to {LARGEST:,}; export it again"
        )
    try:
        return onnx_import.load(file)
    except XpcnnError as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{file}: has a layer that cannot be built here: {error}") from error
    except Exception as error:  # a damaged file passes onnx's checker and says what no exporter does
        said = " ".join(str(error).split()) or type(error).__name__
        raise CheckpointError(
            f"{file}: its graph cannot be read ({type(error).__name__}: {said:.200}); it is damaged: export it again"
        ) from error
