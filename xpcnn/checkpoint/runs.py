"""The files of a training run: its weights, its metrics, and its configuration."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xpcnn._disk.files import keep_former, naming, read_bounded, remove_unfinished, replacing
from xpcnn.checkpoint import load_weights, read_weights, save_checkpoint, save_weights
from xpcnn.checkpoint._lock import locked
from xpcnn.errors import CheckpointError, LockedError
from xpcnn.layers import Layer
from xpcnn.optimizers import Optimizer
from xpcnn.training.state import Position

CHECKPOINT, WEIGHTS, BEST = "checkpoint.safetensors", "weights.safetensors", "best.safetensors"
RESULT = "result.json"

LARGEST_METRICS = 2**26
"""Bytes of metrics, of which a line, one epoch, has about 200."""


class Record:
    """The files of one run: weights, checkpoint, metrics.jsonl and config.json in a folder, metrics in any other file.

    The constructor moves the files of a previous run to numbered names and writes the configuration, so a folder that
    cannot be written to is reported before the first step. Without a folder only `save` writes weights, to
    interrupted.safetensors.

    Parameters
    ----------
    config : mapping that JSON can hold
        With "model" and "dataset", which ``xpcnn evaluate`` reads from the weights.
    folder, metrics : Path or None
    resumed : Position or None
        Of a run that continues: its files stay. Lines of metrics after the position are cut off, since they are written
        again.

    Raises
    ------
    OSError
        Where a file cannot be written.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        folder: Path | None = None,
        metrics: Path | None = None,
        resumed: Position | None = None,
    ) -> None:
        self.config, self.folder, self.metrics = dict(config), folder, {metrics} if metrics else set()
        self.weights = Path("interrupted.safetensors")
        files: list[Path] = []
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            self.weights = folder / WEIGHTS
            self.metrics.add(folder / "metrics.jsonl")
            files = [
                self.weights,
                folder / CHECKPOINT,
                folder / "config.json",
                folder / BEST,
                folder / RESULT,
            ]
            files += _averages(folder)
        if resumed is None:
            keep_former(*files, *self.metrics)
        for file in files:
            remove_unfinished(file)
        if folder is not None:
            with replacing(folder / "config.json") as handle:
                handle.write((json.dumps(self.config, indent=2) + "\n").encode())
        for path in self.metrics:
            path.parent.mkdir(parents=True, exist_ok=True)
            open(path, "a").close()
            if resumed is not None and path.is_file():
                _cut(path, resumed.epoch if resumed.ended else resumed.epoch - 1)

    def add(self, line: Mapping[str, Any], model: Layer, steps: int) -> None:
        """Write the weights of an epoch, then its line of metrics, so that every line has its weights.

        A line that was there when the run was resumed stays as it is.
        """
        if self.folder is not None:
            self._save(model, steps)
        for path in self.metrics:
            if path.is_file() and any(written["epoch"] == line["epoch"] for written in _lines(path)):
                continue
            with naming(path), open(path, "a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")

    def epochs(self) -> list[dict[str, Any]]:
        """Return the lines of metrics so far, those of the folder first."""
        return _lines(max(self.metrics, key=lambda path: path.parent == self.folder)) if self.metrics else []

    def save_best(self, model: Layer, steps: int, epoch: int, accuracy: float) -> None:
        """Write the weights of the best epoch so far, and by which accuracy it is the best."""
        if self.folder is not None:
            self._save(
                model, steps, self.folder / BEST, {"epoch": str(epoch), "validation_accuracy": repr(accuracy)}
            )

    def best(self) -> tuple[int, float]:
        """Return the best epoch so far and its accuracy on the validation set; (0, -1.0) if there is none."""
        if self.folder is None or not (self.folder / BEST).is_file():
            return 0, -1.0
        file = self.folder / BEST
        _, found = read_weights(file)
        try:
            return int(found["epoch"]), float(found["validation_accuracy"])
        except (KeyError, ValueError):
            raise CheckpointError(f"{file}: it does not say its epoch and accuracy; {_REPAIR}") from None

    def finish(self, result: Mapping[str, Any]) -> None:
        """Write the result of a run that has ended."""
        if self.folder is not None:
            with replacing(self.folder / RESULT) as handle:
                handle.write((json.dumps(result, indent=2) + "\n").encode())

    def save_average(self, model: Layer, steps: int) -> None:
        """Write the averaged weights that belong to a checkpoint after `steps` steps, before that checkpoint."""
        if self.folder is not None:
            self._save(model, steps, _average(self.folder, steps))

    def load_average(self, model: Layer, steps: int) -> None:
        """Read the averaged weights that belong to a checkpoint after `steps` steps."""
        if self.folder is not None:
            load_weights(model, _average(self.folder, steps))

    def forget_averages(self, steps: int) -> None:
        """Remove the averaged weights of earlier checkpoints."""
        for file in _averages(self.folder) if self.folder is not None else []:
            if file != _average(self.folder or Path(), steps):
                file.unlink(missing_ok=True)

    def save(self, model: Layer, steps: int) -> Path:
        """Write the weights as they are after `steps` steps, and return the file's name."""
        if self.folder is not None:
            self._save(model, steps)
            return self.weights
        ends = time.monotonic() + 60
        while True:
            try:
                with locked(self.weights):  # another run may be interrupted at the same moment
                    keep_former(self.weights)
                    self._save(model, steps)
                    return self.weights
            except LockedError:
                if time.monotonic() > ends:
                    raise
                time.sleep(0.02)

    def checkpoint(self, model: Layer, optimizer: Optimizer, position: Position) -> None:
        """Write to the folder all that the run needs to continue from here."""
        if self.folder is not None:
            save_checkpoint(self.folder / CHECKPOINT, model, optimizer, position, self.config)

    def _save(
        self, model: Layer, steps: int, file: Path | None = None, more: Mapping[str, str] | None = None
    ) -> None:
        names = {name: str(self.config[name]) for name in ("model", "dataset")}
        known = {**names, "steps": str(steps), "config": json.dumps(self.config), **(more or {})}
        save_weights(model, file or self.weights, known)


def _average(folder: Path, steps: int) -> Path:
    return folder / f"average-{steps}.safetensors"


def _averages(folder: Path) -> list[Path]:
    return [file for file in folder.glob("average-*.safetensors") if file.stem.partition("-")[2].isdecimal()]


def _cut(path: Path, epoch: int) -> None:
    """Keep the lines up to this epoch."""
    kept = [json.dumps(line) + "\n" for line in _lines(path) if line["epoch"] <= epoch]
    with replacing(path) as file:
        file.write("".join(kept).encode())


def _lines(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a file of metrics, without a last one that a killed process did not finish."""
    content = read_bounded(path, LARGEST_METRICS)
    if content is None:
        raise CheckpointError(
            f"{path}: has more than {LARGEST_METRICS:,} bytes, too many for metrics; {_REPAIR}"
        )
    lines = []
    for number, text in enumerate(content.split(b"\n")[:-1], start=1):
        try:
            line = json.loads(text)
            if not isinstance(line, dict) or type(line.get("epoch")) is not int:
                raise ValueError("it names no epoch")
        except (ValueError, RecursionError) as error:
            raise CheckpointError(
                f"{path}: line {number} is no line of metrics, {text[:40]!r} ({str(error)[:60]}); {_REPAIR}"
            ) from None
        lines.append(line)
    return lines


_REPAIR = "repair the file or remove what is damaged, or name others with --metrics and --output"
