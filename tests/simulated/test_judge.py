import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from xpcnn import backend, kernels
from xpcnn.backend import set_backend
from xpcnn.errors import BackendError, KernelError
from xpcnn.simulated import judge

INSTALL = 'pip install "xpcnn[simulated]"'


@pytest.fixture
def reopened(monkeypatch):
    """Backends and judge are forgotten, before and after."""

    def forget():
        backend._registry._opened.clear()
        judge.cupy.cache_clear()

    forget()
    yield monkeypatch
    monkeypatch.undo()
    forget()


@pytest.mark.parametrize(
    ("method", "signature"),
    [
        ("sum", "(self, axis=None, dtype=None, out=None, keepdims=False)"),
        ("partition", "(self, kth, axis=-1)"),
        ("swapaxes", "(self, axis1, axis2)"),
        ("reshape", "(self, *shape, order='C', copy=None)"),
        ("item", "(self)"),
        ("dot", "(self, b, out=None)"),
        ("view", "(self, dtype=None, type=None)"),
    ],
)
def test_signatures_of_methods_are_read_from_cupys_docstrings(method, signature):
    assert str(judge.signature(f"ndarray.{method}")) == signature


def test_where_cupy_hides_the_signature_everything_binds(monkeypatch):
    assert judge._from_docstring("no signature here") is None
    monkeypatch.setattr(judge, "signature", lambda path: None)
    judge.bind("sum", (1, 2, 3, 4), {"no": "such"})


def test_bind_says_the_signature():
    with pytest.raises(
        TypeError, match=r"cupy\.concatenate\(tup, axis=0.*unexpected keyword argument 'order'"
    ):
        judge.bind("concatenate", ([],), {"order": "C"})


def test_without_cupy_the_error_is_one_command(reopened):
    reopened.setitem(sys.modules, "cupy", None)
    for _ in range(2):
        with pytest.raises(BackendError, match=r"backend simulated cannot run here: .*CuPy") as caught:
            set_backend("simulated")
    assert str(caught.value).count("run: ") == 1


def test_without_cupy_installed_the_command_installs_it(reopened, tmp_path):
    (tmp_path / "cupy.py").write_text("raise ModuleNotFoundError(\"No module named 'cupy'\", name='cupy')")
    reopened.syspath_prepend(tmp_path)
    reopened.delitem(sys.modules, "cupy")
    assert judge.why_no_judge().endswith(f"CuPy is not installed; run: {INSTALL}")


def test_a_cupy_that_does_not_import(reopened, tmp_path):
    (tmp_path / "cupy.py").write_text("raise ImportError('libcudart.so.13\\nmore')")
    reopened.syspath_prepend(tmp_path)
    reopened.delitem(sys.modules, "cupy")
    assert judge.why_no_judge().startswith(
        "CuPy does not import (ImportError: libcudart.so.13); run: pip install --force"
    )


def test_any_cupy_is_judge_enough(reopened):
    """The driver may be missing: importing is all that is asked."""
    assert judge.why_no_judge() is None
    assert set_backend("simulated").name == "simulated"


def test_without_a_compiler_the_reference_runs_and_says_so_once(reopened, capsys):
    def refuse(name):
        raise KernelError("there is no C++ compiler; install g++")

    reopened.setattr(kernels, "load", lambda name, choice: refuse(name) if name == "simulated" else {})
    opened = set_backend("simulated")
    assert set_backend("simulated") is opened
    assert opened.kernels == {}
    assert opened.remark == "it runs the reference ops: there is no C++ compiler; install g++"
    assert capsys.readouterr().err == f"xpcnn: backend simulated: {opened.remark}\n"
    from xpcnn.commands.diagnosis import Attempt, backend_rows

    assert backend_rows({"simulated": Attempt(opened)}, Attempt(opened)) == [
        ("simulated", "yes", f"active\n{opened.remark}")
    ]


def test_simulated_and_cuda13_bring_the_same_wheel():
    """Two CuPys at once do not work: see xpcnn.commands.diagnosis.version_rows."""
    extras = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    (simulated,), (cuda13,) = extras["simulated"], extras["cuda13"]
    assert simulated == cuda13.replace("[ctk]", "") == "cupy-cuda13x>=14"
    assert any("simulated" in requirement for requirement in extras["test"])
    assert any("xpcnn[test]" in requirement for requirement in extras["dev"])


def test_the_judge_knows_numpys_dtypes():
    assert judge.real("float32") is np.float32
