"""Compiling: once for a text, whoever asks; and one sentence where it cannot be."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from xpcnn.errors import KernelError
from xpcnn.simulated.cuda import RawModule, build, why_not

CODE = 'extern "C" __global__ void k(float* x) { x[0] = 1; }'


@pytest.fixture
def folder(tmp_path, monkeypatch, compiler):
    monkeypatch.setenv("XPCNN_SIMULATED_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_second_time_nothing_is_compiled(folder, monkeypatch):
    RawModule(code=CODE).compile()
    (library,) = folder.iterdir()
    made = library.stat().st_mtime_ns
    monkeypatch.setattr(subprocess, "run", lambda *args, **kwargs: pytest.fail("compiled again"))
    RawModule(code=CODE).compile()
    assert library.stat().st_mtime_ns == made


def test_another_text_macro_or_flag_is_another_library(folder, monkeypatch):
    RawModule(code=CODE).compile()
    RawModule(code=CODE.replace("= 1", "= 2")).compile()
    RawModule(code=CODE, options=("-DN=1",)).compile()
    monkeypatch.setattr(build, "FLAGS", (*build.FLAGS, "-DOTHER"))
    RawModule(code=CODE).compile()
    assert len(list(folder.iterdir())) == 4


def test_many_at_once_leave_one_library_and_no_litter(folder):
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: RawModule(code=CODE).compile(), range(4)))
    assert [file.suffix for file in folder.iterdir()] == [".so"]


def test_a_text_that_does_not_compile_leaves_no_litter(folder):
    with pytest.raises(KernelError):
        RawModule(code=CODE.replace("1", "nothing")).compile()
    assert list(folder.iterdir()) == []


def test_a_folder_that_cannot_be_written_to_is_not_needed(tmp_path, monkeypatch, compiler):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XPCNN_SIMULATED_CACHE", str(tmp_path / "file" / "cache"))
    RawModule(code=CODE).compile()


def test_without_a_compiler_it_says_so_in_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "compiler", lambda: None)
    monkeypatch.setattr(sys, "platform", "linux")
    assert "install g++" in why_not()
    with pytest.raises(KernelError, match=r"need a C\+\+ compiler, .*XPCNN_KERNELS=reference"):
        RawModule(code=CODE).compile()


def test_windows_has_no_fibers_and_says_so(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    assert "Windows" in why_not()
    with pytest.raises(KernelError, match="ucontext, which Windows lacks"):
        RawModule(code=CODE).compile()


def test_cxx_is_the_first_choice(monkeypatch, compiler):
    monkeypatch.setenv("CXX", "no-such-compiler")
    build.compiler.cache_clear()
    assert build.compiler()
    monkeypatch.setenv("CXX", sys.executable)
    build.compiler.cache_clear()
    assert build.compiler() == sys.executable
    build.compiler.cache_clear()
