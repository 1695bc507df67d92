"""Scripts run as a user runs them: as processes of their own, from another folder, on a small MNIST."""

import importlib
import os
import signal
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from xpcnn import data

SCRIPTS = Path(__file__).parents[2] / "scripts"
TRAIN, TEST = 300, 250  # images; 250 leaves a last batch that is smaller


class Script:
    """One of scripts/, its small data set, and the environment that it runs in."""

    def __init__(self, name, folder):
        self.path, self.folder = SCRIPTS / name, folder

    def environment(self, **variables):
        return dict(os.environ) | {"XPCNN_DATA": str(self.folder)} | variables

    def command(self, *arguments):
        return [sys.executable, str(self.path), *map(str, arguments)]

    def __call__(self, *arguments, cwd, **variables):
        return subprocess.run(
            self.command(*arguments), cwd=cwd, env=self.environment(**variables),
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300,
        )  # fmt: skip

    def module(self, monkeypatch, *arguments):
        """Return the command's module in this process, which believes it was called with `arguments`."""
        module = importlib.import_module(f"xpcnn.commands.{self.path.stem}")
        monkeypatch.setattr(sys, "argv", [str(self.path), *map(str, arguments)])
        monkeypatch.setenv("XPCNN_DATA", str(self.folder))
        return module


@pytest.fixture(scope="session")
def small_mnist(tmp_path_factory):
    """A folder with the first images of MNIST, in its own format."""
    folder = tmp_path_factory.mktemp("data") / "mnist"
    folder.mkdir()
    train, test = data.mnist()
    for stem, count, (images, labels) in (("train", TRAIN, train), ("t10k", TEST, test)):
        pixels, digits = images[:count].tobytes(), labels[:count].astype("u1").tobytes()
        (folder / f"{stem}-images-idx3-ubyte").write_bytes(struct.pack(">iiii", 2051, count, 28, 28) + pixels)
        (folder / f"{stem}-labels-idx1-ubyte").write_bytes(struct.pack(">ii", 2049, count) + digits)
    return folder.parent


@pytest.fixture(scope="session")
def train_script(small_mnist):
    return Script("train.py", small_mnist)


@pytest.fixture(scope="session")
def evaluate_script(small_mnist):
    return Script("evaluate.py", small_mnist)


@pytest.fixture(scope="session")
def benchmark_script(small_mnist):
    return Script("benchmark.py", small_mnist)


@pytest.fixture(scope="session")
def trained(train_script, tmp_path_factory):
    """A folder in which train.py ran once, and what it printed: two epochs on 200 images."""
    folder = tmp_path_factory.mktemp("trained")
    arguments = (
        "--limit",
        200,
        "--epochs",
        2,
        "--batch-size",
        20,
        "--output",
        "run",
        "--metrics",
        "more/numbers.jsonl",
    )
    return folder, train_script(*arguments, "--json", "--quiet", cwd=folder)


@pytest.fixture
def _interruptible():
    """Give Ctrl-C and SIGTERM back their handlers afterwards."""
    former = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in former.items():
        signal.signal(number, handler)
