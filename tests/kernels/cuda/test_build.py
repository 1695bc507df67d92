"""Compiling: once for a text, whoever asks; and one sentence where it cannot be."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from xpcnn._disk import caches
from xpcnn.errors import KernelError
from xpcnn.simulated.cuda import RawModule, build, why_not
from xpcnn.simulated.cuda.translate import to_cpp

CODE = 'extern "C" __global__ void k(float* x) { x[0] = 1; }'


@pytest.fixture
def folder(tmp_path, monkeypatch, compiler):
    monkeypatch.setenv("XPCNN_SIMULATED_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(caches, "_said", set())
    build._folder.cache_clear()
    yield tmp_path / "cache"
    build._folder.cache_clear()


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


DAMAGE = {
    "empty": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "zeros": lambda content: bytes(len(content)),
    "a bit": lambda content: content[:-99] + bytes([content[-99] ^ 1]) + content[-98:],
    "another program": lambda content: b"#!/bin/sh\n",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_library_is_compiled_again_and_said(folder, capsys, damage):
    """Loading one that was cut short would end this process with SIGBUS, so it must not come to that."""
    library = build.build(to_cpp(CODE, {}))
    whole = library.read_bytes()
    library.write_bytes(DAMAGE[damage](whole))
    x = np.zeros(1, np.float32)
    RawModule(code=CODE).get_function("k")((1,), (1,), (x,))
    assert x == 1
    assert f"{library} is damaged, and is compiled again" in capsys.readouterr().err
    assert list(folder.iterdir()) == [library]
    assert library.read_bytes() == whole


@pytest.mark.skipif(os.name != "posix", reason="permissions as POSIX has them")
def test_what_others_may_have_planted_is_not_run(folder, capsys):
    library, other = (build.build(to_cpp(CODE.replace("= 1", f"= {value}"), {})) for value in (1, 2))
    key = library.name.partition("-")[0]  # a library that does something else, under the name of the first
    os.replace(other, folder / f"{key}-{other.name.partition('-')[2]}")
    library.unlink()
    folder.chmod(0o777)
    build._folder.cache_clear()
    x = np.zeros(1, np.float32)
    RawModule(code=CODE).get_function("k")((1,), (1,), (x,))
    assert x == 1
    said = capsys.readouterr().err
    assert "kept for this process only: others may write to" in said
    assert said.count("\n") == 1
    assert "chmod go-w" in build.remark()


def test_without_a_home_it_is_kept_for_this_process_and_said(folder, monkeypatch, capsys):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    for name in ("XPCNN_SIMULATED_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    RawModule(code=CODE).compile()
    assert "there is no home folder; set XPCNN_SIMULATED_CACHE" in capsys.readouterr().err


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
