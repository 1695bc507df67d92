"""Substitutes are registered where they are written, under the name of an op that exists."""

import ast
import dataclasses
import importlib.util
from pathlib import Path

import pytest

from xpcnn import kernels, ops
from xpcnn.backend import Backend, active_backend, use_backend
from xpcnn.errors import BackendError
from xpcnn.kernels import registry
from xpcnn.kernels.registry import OPS, registered, substitute


@pytest.fixture(autouse=True)
def _of_its_own(monkeypatch):
    monkeypatch.setattr(
        registry, "_SUBSTITUTES", {kind: dict(known) for kind, known in registry._SUBSTITUTES.items()}
    )


def named(name, module="mine"):
    def function(x):
        return x

    function.__name__ = function.__qualname__ = name
    function.__module__ = module
    return function


def test_every_op_is_known():
    assert set(ops.__all__) <= OPS


def test_a_substitute_of_no_op_is_refused():
    with pytest.raises(
        BackendError, match=r"substitute mine.rellu: there is no op 'rellu'; give it the name of the op"
    ):
        substitute("here")(named("rellu"))
    assert registered("here") == {}


def test_a_second_substitute_of_a_kind_is_refused_and_another_kind_s_is_not():
    first = substitute("here")(named("relu"))
    with pytest.raises(BackendError, match="mine has a here one for 'relu'; remove one of them"):
        substitute("here")(named("relu", "yours"))
    second = substitute("there")(named("relu", "yours"))
    assert (registered("here"), registered("there")) == ({"relu": first}, {"relu": second})
    again = substitute("here")(named("relu"))  # its module is loaded again
    assert registered("here") == {"relu": again}


def test_a_kernel_of_no_op_is_refused_by_a_backend():
    with pytest.raises(
        BackendError, match="Backend numpy: there is no op 'rellu' that this kernel could replace"
    ):
        dataclasses.replace(active_backend(), kernels={"rellu": abs})
    with use_backend(dataclasses.replace(active_backend(), kernels={"relu": abs})) as active:
        assert isinstance(active, Backend)
        assert ops.relu(-3) == 3


def test_a_module_with_a_substitute_of_no_op_is_refused(tmp_path, monkeypatch):
    (tmp_path / "misnamed.py").write_text("SUBSTITUTES = {'rellu': abs}\n")
    monkeypatch.setattr(kernels, "__path__", [*kernels.__path__, str(tmp_path)])
    with pytest.raises(BackendError, match=r"xpcnn.kernels.misnamed: there is no op 'rellu'"):
        kernels.load("misnamed")


@pytest.mark.parametrize("kind", ["plain", "compiled"])
def test_what_is_written_is_registered(kind):
    """No file of the package is forgotten: every function below @substitute(kind) is among its substitutes."""
    if kind == "compiled" and importlib.util.find_spec("numba") is None:
        pytest.skip("Numba is not installed")
    kernels.load("numpy")
    written = set()
    for file in (Path(kernels.__file__).parent / "cpu").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                decorators = [ast.unparse(decorator) for decorator in node.decorator_list]
                if any(d == "registered" or d.startswith(f"substitute('{kind}'") for d in decorators):
                    written.add(node.name)
    assert len(written) >= 11
    assert registered(kind).keys() == written
