"""Machine code on the disk: found again, never run when damaged, never looked for where others may write."""

import os
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("numba")

from xpcnn import kernels
from xpcnn._disk import caches
from xpcnn.kernels.cpu.compiled import kept
from xpcnn.kernels.cpu.compiled.compiler import compiled


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder of its own, and nothing said so far."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(caches, "_said", set())
    kept.folder.cache_clear()
    yield tmp_path / "cache"
    kept.folder.cache_clear()


def twice(x):
    return x + x


def counts(function):
    return sum(function.stats.cache_hits.values()), sum(function.stats.cache_misses.values())


def test_it_is_found_again_for_each_type(place, capsys):
    for hits, misses in ((0, 2), (2, 0)):
        function = compiled(twice)
        assert function(np.float32(1.5)) == 3
        assert function(2) == 4
        assert counts(function) == (hits, misses)
    assert len(list(place.iterdir())) == 2
    assert capsys.readouterr().err == ""
    assert kept.remark() == ""


DAMAGE = {
    "empty": lambda content: b"",
    "short": lambda content: content[:20],
    "cut": lambda content: content[: len(content) // 2],
    "longer": lambda content: content + b"x",
    "zeros": lambda content: bytes(len(content)),
    "a bit of the hash": lambda content: bytes([content[0] ^ 1]) + content[1:],
    "a bit of the code": lambda content: content[:-500] + bytes([content[-500] ^ 1]) + content[-499:],
    "a pickle of numba's": lambda content: pickle.dumps("0.66.0") + content[32:],
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_compiled_again_and_said(place, capsys, damage):
    compiled(twice)(1.5)
    (file,) = place.iterdir()
    whole = file.read_bytes()
    file.write_bytes(DAMAGE[damage](whole))
    function = compiled(twice)
    assert function(1.5) == 3
    assert counts(function) == (0, 1)
    assert f"{file} is damaged" in capsys.readouterr().err
    again = compiled(twice)
    assert again(1.5) == 3
    assert counts(again) == (1, 0)
    assert list(place.iterdir()) == [file]


def test_thirty_damaged_files_give_the_right_number(place):
    compiled(twice)(1.5)
    (file,) = place.iterdir()
    whole, rng = file.read_bytes(), np.random.default_rng(0)
    for _ in range(30):
        content = bytearray(whole)
        content[rng.integers(len(content))] ^= 1 << rng.integers(8)
        file.write_bytes(content)
        assert compiled(twice)(1.5) == 3
        assert file.read_bytes()[32:] != content[32:] or file.read_bytes()[:32] != content[:32]


class Planted:
    def __reduce__(self):
        return os.mkdir, ("owned",)


@pytest.mark.skipif(os.name != "posix", reason="permissions as POSIX has them")
def test_a_folder_that_others_may_write_to_is_not_looked_into(place, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    compiled(twice)(1.5)
    (file,) = place.iterdir()
    payload = pickle.dumps(Planted())
    file.write_bytes(kept.hashlib.sha256(payload).digest() + payload)
    place.chmod(0o777)
    kept.folder.cache_clear()
    function = compiled(twice)
    assert function(1.5) == 3
    assert not (tmp_path / "owned").exists()
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"others may write to {place}; run: chmod go-w {place}" in said
    assert "chmod go-w" in kept.remark()
    place.chmod(0o700)
    file.unlink()


def test_without_a_home_it_compiles_for_itself_and_the_remark_says_so(place, monkeypatch):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    for name in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    kept.folder.cache_clear()
    assert compiled(twice)(1.5) == 3
    assert (
        kept.remark() == "machine code is not kept: there is no home folder; set NUMBA_CACHE_DIR to keep it"
    )


def test_a_full_disk_costs_a_sentence_and_nothing_else(place, monkeypatch, capsys):
    def full(*names):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(kept.os, "replace", full)
    assert compiled(twice)(1.5) == 3
    assert "cannot be kept" in capsys.readouterr().err
    assert list(place.iterdir()) == []


def test_the_diagnosis_says_where_nothing_is_kept(monkeypatch):
    monkeypatch.setattr(kept, "folder", lambda: (None, "not kept: the reason"))
    kernels._compiled.cache_clear()
    try:
        with warnings.catch_warnings():
            assert "machine code is not kept: the reason" in kernels.remark("numpy")
    finally:
        kernels._compiled.cache_clear()
