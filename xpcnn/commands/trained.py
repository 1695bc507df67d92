"""A trained network in a file: where the file is, and which network, classes and images it is for."""

import json
from pathlib import Path
from typing import NamedTuple

from xpcnn import data, models
from xpcnn.checkpoint import load_weights, read_weights
from xpcnn.checkpoint.runs import BEST, WEIGHTS
from xpcnn.commands.command_line import called
from xpcnn.commands.models import SHAPES
from xpcnn.data.datasets import LOADERS
from xpcnn.errors import CheckpointError
from xpcnn.layers import Layer

RUNS = Path("runs")
"""Where `xpcnn train` keeps runs, each in a folder of its own."""

CHOICES = {"model": tuple(models.BY_NAME), "dataset": (*LOADERS, "folder")}


class Trained(NamedTuple):
    """A weights file, and its metadata: "model", "dataset", and the configuration of its training."""

    file: Path
    metadata: dict[str, str]

    @property
    def config(self) -> dict[str, object]:
        """The configuration of the training, as far as the file has it."""
        try:
            found = json.loads(self.metadata.get("config", "{}"))
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    def named(self, what: str) -> str:
        """Return the name of the "model" or the "dataset".

        Raises
        ------
        CheckpointError
            If the file names none that is known.
        """
        if (name := self.metadata.get(what)) in CHOICES[what]:
            return name
        found = f"names the {what} {name!r}" if name else f"names no {what}"
        raise CheckpointError(f"{self.file}: {found}; pass --{what} with one of: {', '.join(CHOICES[what])}")

    def classes(self) -> tuple[str, ...] | None:
        """Return the names of the classes, or None if the file does not say."""
        names = self.config.get("classes")
        if isinstance(names, list) and names and all(isinstance(name, str) for name in names):
            return tuple(names)
        dataset = self.metadata.get("dataset")
        return data.class_names(dataset) if dataset in LOADERS else None

    def shape(self) -> tuple[int, int, int] | None:
        """Return the shape of an image, or None if the file does not say."""
        found = self.config.get("input_shape")
        if isinstance(found, list) and len(found) == 3 and all(type(n) is int and n > 0 for n in found):
            return found[0], found[1], found[2]
        return SHAPES.get(self.metadata.get("dataset", ""))


def find(path: Path | None) -> Trained:
    """Read the metadata of a weights file, of a run's folder, or of the newest run.

    Raises
    ------
    CheckpointError
        If there is none, or it is damaged.
    """
    if path is None:
        runs = [file for folder in RUNS.glob("*") if (file := weights_in(folder))]
        if not runs:
            raise CheckpointError(
                f"{RUNS}{'/'}: there is no trained network here; name its file or folder, or train one: "
                f"{called('train')}"
            )
        path = max(runs, key=lambda file: file.stat().st_mtime)
    elif path.is_dir():
        file = weights_in(path)
        if file is None:
            raise CheckpointError(f"{path}: this folder has no {BEST} and no {WEIGHTS}; name a weights file")
        path = file
    return Trained(path, read_weights(path)[1])


def weights_in(folder: Path) -> Path | None:
    """Return a run's best weights, or its last ones, or None."""
    return next((folder / name for name in (BEST, WEIGHTS) if (folder / name).is_file()), None)


def load(trained: Trained, name: str, classes: int, shape: tuple[int, ...]) -> Layer:
    """Build the network, and load the weights.

    Raises
    ------
    CheckpointError
        If they do not fit each other; the message says what the file says of itself.
    """
    model = models.BY_NAME[name](classes, 0, input_shape=shape)
    try:
        load_weights(model, trained.file)
    except CheckpointError as error:
        known = trained.metadata
        says = " ".join(f"--{what} {known[what]}" for what in CHOICES if what in known) or "neither"
        raise CheckpointError(f"{error}; the file says: {says}") from None
    return model
