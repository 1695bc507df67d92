"""At most eight modules stand beside the packages: every other one has a room."""

import subprocess
import sys
from pathlib import Path

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
