"""One process at a time: refused with the holder's name, and free again however that process ended."""

import errno
import json
import os
import platform
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

import xpcnn
from xpcnn.checkpoint import _lock as lock
from xpcnn.checkpoint._lock import locked
from xpcnn.errors import LockedError, XpcnnWarning

HOLD = (
    "import sys, time\nfrom xpcnn.checkpoint._lock import locked\n"
    "with locked(sys.argv[1]):\n    print('held', flush=True); {}"
)


def holder(path, then="time.sleep(60)"):
    folder = os.path.dirname(os.path.dirname(xpcnn.__file__))
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD.format(then), str(path)], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": folder},
    )  # fmt: skip
    assert process.stdout.readline() == "held\n"
    return process


@pytest.mark.parametrize("what", ["folder", "file"])
def test_a_second_process_is_refused_with_the_first_one_s_name(tmp_path, what):
    place = tmp_path if what == "folder" else tmp_path / "more" / "numbers.jsonl"
    with holder(place) as process:
        try:
            with pytest.raises(
                LockedError,
                match=rf"process {process.pid} on {platform.node()}, since 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d, writes",
            ), locked(place):  # fmt: skip
                pass
        finally:
            process.kill()
    with locked(place):  # the dead process holds nothing
        pass
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    "then", ["pass", "raise SystemExit(3)", "import os; os._exit(9)", "import os; os.kill(os.getpid(), 9)"]
)
def test_however_the_holder_ends_the_place_is_free(tmp_path, then):
    with holder(tmp_path, then) as process:
        process.communicate(timeout=60)
    with locked(tmp_path):
        held = json.loads((tmp_path / ".lock").read_text())
        assert held["pid"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_one_process_holds_a_place_once(tmp_path):
    with locked(tmp_path), pytest.raises(LockedError, match=f"process {os.getpid()} on"), locked(tmp_path):
        pass


def test_a_link_to_the_folder_is_the_folder(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "run")
    with locked(tmp_path / "run"), pytest.raises(LockedError), locked(tmp_path / "link"):
        pass


def test_a_planted_link_is_not_followed(tmp_path):
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").symlink_to(tmp_path / "mine")
    with pytest.raises(OSError, match=r"."), locked(tmp_path / "run"):
        pass
    assert (tmp_path / "mine").read_text() == "mine"


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"pid": "x"}', '{"pid": 1}', "\0" * 9, "[" * 5000])
def test_a_holder_that_has_not_said_its_name_yet_is_another_process(tmp_path, text):
    with locked(tmp_path):
        (tmp_path / ".lock").write_text(text)
        with pytest.raises(LockedError, match="another process writes there"), locked(tmp_path):
            pass


def test_what_is_neither_folder_nor_file_is_not_locked(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with locked(tmp_path / "pipe"), locked(tmp_path / "pipe"):
        assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


def test_a_file_that_another_process_renames_meanwhile_is_locked(tmp_path, monkeypatch):
    """One look decides. Between two the file may be gone, and was then taken for a pipe, which is not locked."""
    monkeypatch.setattr(os.path, "exists", lambda path: True)
    path = tmp_path / "weights.safetensors"
    with locked(path):
        assert [file.name for file in tmp_path.iterdir()] == [".weights.safetensors.lock"]
        with pytest.raises(LockedError), locked(path):
            pass


def test_a_file_system_without_locks_is_said_to_be_one(tmp_path, monkeypatch):
    def refuse(*args):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.warns(XpcnnWarning, match=r"this file system has no locks \(No locks available\); see that"), \
         locked(tmp_path):  # fmt: skip
        pass
    assert os.listdir(tmp_path) == []


def test_of_many_that_begin_and_end_at_once_never_two_hold(tmp_path):
    """The file is removed at each end: nobody may hold a removed one while another makes a new one."""
    inside, most, entered = [], [0], [0]

    def try_often(number):
        for _ in range(300):
            try:
                with locked(tmp_path):
                    inside.append(number)
                    most[0] = max(most[0], len(inside))
                    entered[0] += 1
                    inside.pop()
            except LockedError:
                pass

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(try_often, range(6)))
    assert most == [1]
    assert entered[0] > 6
    assert os.listdir(tmp_path) == []


def test_a_child_that_outlives_its_parent_does_not_hold(tmp_path):
    """What the holder starts does not inherit the lock."""
    then = (
        "import subprocess; p = subprocess.Popen(['sleep', '30']); print(p.pid, flush=True); time.sleep(60)"
    )
    with holder(tmp_path, then) as process:
        child = int(process.stdout.readline())
        process.kill()
        process.stdout.close()
    try:
        with locked(tmp_path):
            pass
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_file_that_its_holder_removed_meanwhile_is_no_lock(tmp_path, monkeypatch):
    """Between opening it and locking it: the next process would make and lock another file of this name."""
    true, calls = lock._lock, []

    def late(descriptor):
        calls.append(descriptor)
        if len(calls) == 1:
            (tmp_path / ".lock").unlink()
        return true(descriptor)

    monkeypatch.setattr(lock, "_lock", late)
    with locked(tmp_path):
        assert (tmp_path / ".lock").exists()
        with pytest.raises(LockedError), locked(tmp_path):
            pass
    assert len(calls) == 3
