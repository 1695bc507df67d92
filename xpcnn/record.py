"""What a training run leaves on disk: its weights, its numbers, and the configuration that made them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xpcnn.checkpoint import save_weights
from xpcnn.files import keep_former, replacing
from xpcnn.layers import Layer


class Record:
    """The files of one run: weights.safetensors, metrics.jsonl and config.json in a folder, metrics in any other file.

    Making one moves the files of a former run to numbered names and writes the configuration, so a place that
    cannot be written to is known before the first step. Without a folder weights are written only by `save`,
    to interrupted.safetensors.

    Parameters
    ----------
    config : mapping that JSON can hold
        It must name "model" and "dataset": ``scripts/evaluate.py`` reads them from the weights.
    folder, metrics : Path or None

    Raises
    ------
    OSError
        Where a file cannot be written.
    """

    def __init__(
        self, config: Mapping[str, Any], folder: Path | None = None, metrics: Path | None = None
    ) -> None:
        self.config, self.folder, self.metrics = dict(config), folder, {metrics} if metrics else set()
        self.weights = Path("interrupted.safetensors")
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            self.weights = folder / "weights.safetensors"
            self.metrics.add(folder / "metrics.jsonl")
            keep_former(self.weights, folder / "config.json", *self.metrics)
            with replacing(folder / "config.json") as file:
                file.write((json.dumps(self.config, indent=2) + "\n").encode())
        else:
            keep_former(*self.metrics)
        for path in self.metrics:
            path.parent.mkdir(parents=True, exist_ok=True)
            open(path, "a").close()

    def add(self, line: Mapping[str, Any], model: Layer, steps: int) -> None:
        """Write down what one epoch gave: the weights, then a line of metrics, so that every line has its weights."""
        if self.folder is not None:
            self._save(model, steps)
        for path in self.metrics:
            with open(path, "a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")

    def save(self, model: Layer, steps: int) -> Path:
        """Write the weights as they are after `steps` steps, and return the file's name."""
        if self.folder is None:
            keep_former(self.weights)
        self._save(model, steps)
        return self.weights

    def _save(self, model: Layer, steps: int) -> None:
        names = {name: str(self.config[name]) for name in ("model", "dataset")}
        save_weights(model, self.weights, {**names, "steps": str(steps), "config": json.dumps(self.config)})
