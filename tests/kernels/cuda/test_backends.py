"""Which backends take the CUDA kernels, and which cannot."""

import importlib
import sys

import pytest

from xpcnn import kernels
from xpcnn.errors import KernelError
from xpcnn.kernels.cuda import OPS

NAMES = {op.__name__ for op in OPS} | {"relu_max_pool"}  # made of relu and max_pool


@pytest.fixture
def fresh(monkeypatch):
    """Modules of substitutes are imported anew, and not kept."""
    monkeypatch.delenv("XPCNN_KERNELS", raising=False)
    for name in ("cupy", "simulated"):
        monkeypatch.delitem(sys.modules, f"xpcnn.kernels.{name}", raising=False)
        monkeypatch.delattr(kernels, name, raising=False)


def test_cupy_takes_them(fresh):
    pytest.importorskip("cupy")
    substitutes = kernels.load("cupy")
    assert substitutes.keys() == NAMES
    assert {op.args[0].xp for op in substitutes.values() if hasattr(op, "args")} == {sys.modules["cupy"]}


def test_amds_gpus_run_the_textbook(fresh, monkeypatch):
    cupy = pytest.importorskip("cupy")
    monkeypatch.setattr(cupy.cuda.runtime, "is_hip", True)
    assert kernels.load("cupy") == {}


def test_the_simulated_device_takes_them(fresh, compiler):
    from xpcnn.simulated import stand_in

    substitutes = kernels.load("simulated")
    assert substitutes.keys() == NAMES
    assert {op.args[0].xp for op in substitutes.values() if hasattr(op, "args")} == {stand_in}


def test_without_a_compiler_the_simulated_device_says_why_not(fresh, monkeypatch):
    build = importlib.import_module("xpcnn.simulated.cuda.build")
    monkeypatch.setattr(build, "compiler", lambda: None)
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(KernelError, match="need a C\\+\\+ compiler"):
        kernels.load("simulated")


@pytest.mark.parametrize("name", ["cupy", "simulated"])
def test_the_modules_import_without_what_they_need(fresh, monkeypatch, name):
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.setattr(sys, "platform", "win32")
    module = importlib.import_module(f"xpcnn.kernels.{name}")
    with pytest.raises((ImportError, KernelError)):
        _ = module.SUBSTITUTES
    with pytest.raises(AttributeError, match="no attribute 'OTHER'"):
        _ = module.OTHER


def test_numpy_does_not(fresh):
    assert not any("cuda" in op.__module__ for op in kernels.load("numpy").values())
