"""The book's ``params.pkl``: a pickle of {"W1": array, "b1": array, ...}, read without running what it says."""

import pickle
from collections.abc import Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xpcnn._disk.files import reason, replacing
from xpcnn.backend import to_device, to_host
from xpcnn.errors import CheckpointError
from xpcnn.interop.book.array_patterns import Damaged, NameRefused
from xpcnn.interop.book.pickled import read
from xpcnn.layers import Affine, Conv, Dropout, Layer

File = str | PathLike[str]
Params = dict[str, NDArray[Any]]


def read_params(file: File) -> Params:
    """Return the arrays of a pickle such as the book's ``network.save_params`` writes.

    Python 2 or 3 may have written it, NumPy 1 or 2, in any protocol. Nothing that it says is run, and its arrays are
    not larger than the file; see `xpcnn.interop.book.pickled`.

    Raises
    ------
    CheckpointError
        If the file is missing or damaged, names anything but arrays, or is no dictionary of arrays of numbers.
    """
    if not Path(file).is_file():
        raise CheckpointError(f"{file}: no such file; pass the params.pkl that the book's save_params wrote")
    try:
        content = Path(file).read_bytes()
        params = read(content)
    except NameRefused as error:
        raise CheckpointError(
            f"{file}: refused, for it names {error}, and a pickle may run what it names; only arrays in plain "
            "dictionaries, lists and tuples are read"
        ) from None
    except Damaged as error:
        raise CheckpointError(
            f"{file}: expected a dictionary of arrays of numbers, such as W1 and b1, but reading it failed ({error}); "
            "save that, or copy the file again"
        ) from None
    except OSError as error:
        raise CheckpointError(f"{file}: cannot be read ({reason(error)}); mend its permissions") from error
    if not isinstance(params, dict) or not all(
        isinstance(name, str) and isinstance(array, np.ndarray) for name, array in params.items()
    ):
        raise CheckpointError(
            f"{file}: expected a dictionary of arrays of numbers, such as W1 and b1; save that"
        )
    different = {id(array): array for array in params.values()}  # what the file names twice is one array
    if sum(array.nbytes for array in different.values()) > len(content):
        raise CheckpointError(
            f"{file}: refused, for its arrays are larger than the file, which NumPy writes none of; copy it again"
        )
    # of their own, not views of the file's bytes
    own = {key: array.copy(order="K") for key, array in different.items()}
    return {name: own[id(array)] for name, array in params.items()}


def load_params(model: Layer, source: File | Mapping[str, NDArray[Any]]) -> None:
    """Put the book's W1, b1, W2, ... into `models.simple` or `models.deep`: into every Conv and Affine, in order.

    An Affine's W is turned, since the book's is (I,O). The book drops out without scaling and halves in a test
    instead, and DeepConvNet drops out the class scores as well; this goes into the weights, so that in evaluation the
    model's scores are those of the book's ``predict``.

    Raises
    ------
    CheckpointError
        If the file cannot be read (`read_params`), or is of another network; the model is then as it was.
    """
    where, params = ("params", source) if isinstance(source, Mapping) else (str(source), read_params(source))
    targets = list(_targets(model))
    wrong = [f"{name} is unexpected" for name in params if name not in {target[0] for target in targets}]
    arrays: list[NDArray[Any]] = []
    for name, parameter, factor, turned in targets:
        array = np.asarray(params.get(name, np.zeros(0)))
        array = array.T if turned else array
        if array.shape != tuple(parameter.data.shape):
            wrong.append(f"{name} is {params[name].shape if name in params else 'missing'}, the model's {name} "
                         f"{tuple(parameter.data.shape)[:: -1 if turned else 1]}")  # fmt: skip
        arrays.append(array * factor)
    if wrong:
        raise CheckpointError(
            f"{where}: expected the weights of {model}, but {'; '.join(wrong[:3])}; build models.simple() for the "
            "book's SimpleConvNet, models.deep() for its DeepConvNet"
        )
    for (_, parameter, _, _), array in zip(targets, arrays, strict=True):
        parameter.data[...] = to_device(array.astype(parameter.data.dtype))


def save_params(model: Layer, file: File) -> None:
    """Write the weights as the book's ``network.load_params`` reads them: `load_params` the other way."""
    params: Params = {}
    for name, parameter, factor, turned in _targets(model):
        array = to_host(parameter.data) / factor
        params[name] = np.ascontiguousarray(array.T if turned else array)
    with replacing(file) as handle:
        pickle.dump(params, handle, protocol=4)


def _targets(model: Layer) -> Iterator[tuple[str, Any, float, bool]]:
    """Yield (the book's name, parameter, factor of the book's weights, whether it is turned), layer by layer."""
    layers = [layer for _, layer in model.named_layers() if isinstance(layer, (Conv, Affine, Dropout))]
    number, kept = 0, 1.0
    for layer in layers:
        if isinstance(layer, Dropout):
            kept = 1 - layer.p
            continue
        number += 1
        scores = (
            kept if layer is layers[-1] else 1.0
        )  # where there is a Dropout before, the book has one behind
        yield f"W{number}", layer.weight, kept * scores, isinstance(layer, Affine)
        if layer.bias is not None:
            yield f"b{number}", layer.bias, scores, False
        kept = 1.0
