"""At most eight modules stand beside the packages: every other one has a room."""

import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import xpcnn


def test_at_most_eight_modules_stand_beside_the_packages():
    folder = Path(xpcnn.__file__).parent
    loose = sorted(file.name for file in folder.glob("*.py") if file.name != "__init__.py")
    assert len(loose) <= 8, f"move one of {loose} to the package that it serves"


def test_every_package_stands_in_a_folder_that_python_knows():
    folder = Path(xpcnn.__file__).parent
    for file in folder.rglob("*.py"):
        assert (file.parent / "__init__.py").exists(), f"{file.parent} has no __init__.py"


def test_every_cuda_text_has_its_python_file():
    folder = Path(xpcnn.__file__).parent / "kernels" / "cuda"
    assert {file.stem for file in folder.glob("*.cu")} <= {file.stem for file in folder.glob("*.py")}


def test_importing_the_package_is_enough():
    """In a process that has imported nothing else, and with public names only for Tab to show."""
    names = (
        "models.simple",
        "data.mnist",
        "training.train",
        "losses.L1",
        "visualization",
        "interop",
        "check_layer",
    )
    code = f"import xpcnn; [eval(f'xpcnn.{{name}}') for name in {names}]; print(*dir(xpcnn))"
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert {"models", "layers", "check_layer", "gradient_check"} <= set(shown)
    assert not [name for name in shown if name.startswith("_")]


ROOMS = sorted(xpcnn._ROOMS - {"simulated", "models", "optimizers", "schedules"})


@pytest.mark.parametrize("room", ROOMS)
def test_tab_shows_public_names_and_no_more(room):
    module = importlib.import_module(f"xpcnn.{room}")
    shown = dir(module)
    assert shown
    for name in shown:
        value = getattr(module, name)
        assert not name.startswith("_")
        assert room == "interop" or not inspect.ismodule(value), f"{room}.{name} is a module"
        home = getattr(value, "__module__", "xpcnn").partition(".")[0]
        assert home in ("xpcnn", "typing", "types", "builtins", "collections")


@pytest.mark.parametrize(
    "room",
    [
        "checkpoint",
        "data",
        "initializers",
        "losses",
        "random",
        "training",
        "visualization",
    ],
)
def test_help_shows_signatures_that_can_be_read(room):
    """As they are written: aliases are not spelled out, and no name has its module before it."""
    module = importlib.import_module(f"xpcnn.{room}")
    for name in dir(module):
        value = getattr(module, name)
        if inspect.isfunction(value) or (inspect.isclass(value) and not issubclass(value, tuple)):
            signature = str(inspect.signature(value))
            assert "numpy." not in signature, f"{name}{signature}"
            assert "xpcnn." not in signature, f"{name}{signature}"
            assert "typing." not in signature, f"{name}{signature}"


@pytest.mark.parametrize("name", ["interop.torch", "interop.onnx", "interop.book"])
def test_rooms_of_rooms_load_when_they_are_named(name):
    code = f"import xpcnn; print(xpcnn.{name}.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"xpcnn.{name}"
