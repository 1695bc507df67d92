"""Rules of the package that a tool can check: where modules are, and that a reshape says its shape."""

import ast
import importlib
import inspect
import io
import re
import subprocess
import sys
import tokenize
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


# ---------------------------------------------------------------- rule 3: a reshape says its shape

FOLDER = Path(xpcnn.__file__).parent
SAYS_SHAPES = ("ops", "layers")
"""Packages that keep the rule; add "kernels" when it keeps it."""

RESHAPES = {"reshape", "transpose", "swapaxes", "moveaxis", "rollaxis", "expand_dims", "ravel", "T"}
SHAPE = re.compile(r"\(.*\)|-> \w")
"""In a comment: a shape in parentheses, ``(N, C, H, W) -> (N, C*H*W)``, or the name of one, ``-> shape``."""


def silent_reshapes(source):
    """Return the lines of reshapes and transposes that no comment beside or above them gives a shape."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = {token.start[0]: token for token in tokens if token.type == tokenize.COMMENT}
    shapes = {line for line, token in comments.items() if SHAPE.search(token.string)}
    above = {line for line in shapes if comments[line].line.lstrip().startswith("#")}
    lines = []
    for statement in (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.stmt)):
        own = [node for node in ast.iter_child_nodes(statement) if isinstance(node, (ast.expr, ast.withitem))]
        inner = [node for expression in own for node in ast.walk(expression)]
        if not RESHAPES.intersection(getattr(node, "attr", "") for node in inner):
            continue
        end = statement.end_lineno
        if hasattr(statement, "body"):  # its head alone
            end = max(getattr(node, "end_lineno", 0) for node in inner)
        beside = shapes.intersection(range(statement.lineno, end + 1))
        if not beside and statement.lineno - 1 not in above:
            lines.append(statement.lineno)
    return sorted(lines)


@pytest.mark.parametrize("package", SAYS_SHAPES)
def test_every_reshape_says_its_shape(package):
    silent = [
        f"{file.relative_to(FOLDER)}:{line}"
        for file in sorted((FOLDER / package).rglob("*.py"))
        for line in silent_reshapes(file.read_text())
    ]
    assert not silent, f"write the shape beside it, # (N, C, H, W) -> (N, C*H*W): {silent}"


@pytest.mark.parametrize(
    ("line", "silent"),
    [
        ("y = x.reshape(2, 3)", [1]),
        ("y = x.reshape(2, 3)  # make it flat", [1]),
        ("y = x.reshape(2, 3)  # (N, 6) -> (2, 3)", []),
        ("y = x.T @ z", [1]),
        ("y = x.T @ z  # (I, M) @ (M, O)", []),
        ("# (N, C, H, W) -> (N, H, W, C)\ny = x.transpose(0, 2, 3, 1)", []),
        ("def f(x):\n    z = 1\n\n    return x.swapaxes(0, 1)", [4]),
        ("y = f(\n    x.swapaxes(0, 1),  # (C, N)\n)", []),
        ("for row in x.reshape(2, 3):\n    y = row  # (N, C)", [1]),
        ("with f(x.T):\n    pass", [1]),
    ],
)
def test_the_rule_finds_a_reshape_without_its_shape(line, silent):
    assert silent_reshapes(line) == silent


def test_a_shape_that_is_taken_out_of_an_op_is_missed():
    source = (FOLDER / "ops" / "conv.py").read_text()
    for comment in re.findall(r"  # .*->.*", source):
        assert silent_reshapes(source.replace(comment, "", 1))
