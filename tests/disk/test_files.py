"""A file is the old one or the new one, never half of either."""

import os
import subprocess
import sys

import pytest

from xpcnn._disk.files import naming, replacing


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_new_content_is_there_and_nothing_else(tmp_path):
    target = tmp_path / "weights"
    target.write_bytes(b"old")
    with replacing(target) as file:
        file.write(b"new")
        assert target.read_bytes() == b"old"  # until the block ends
    assert target.read_bytes() == b"new"
    assert names(tmp_path) == ["weights"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_leaves_the_old_content(tmp_path, error):
    target = tmp_path / "weights"
    target.write_bytes(b"old")

    def write_half():
        with replacing(target) as file:
            file.write(b"half")
            raise error

    with pytest.raises(error):
        write_half()
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["weights"]


def test_an_exception_leaves_no_file_where_none_was(tmp_path):
    with pytest.raises(ValueError, match="stop"), replacing(tmp_path / "weights"):
        raise ValueError("stop")
    assert names(tmp_path) == []


def test_killed_in_mid_write_the_old_file_stays(tmp_path):
    target = tmp_path / "weights"
    target.write_bytes(b"old")
    program = (
        "import os, sys; from xpcnn._disk.files import replacing\n"
        "with replacing(sys.argv[1]) as file:\n"
        "    file.write(b'half'); file.flush(); os._exit(9)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, str(target)],
        env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)),
    )
    assert ended.returncode == 9
    assert target.read_bytes() == b"old"
    assert len(names(tmp_path)) == 2  # the temporary one shows that it was in mid-write


def test_missing_folders_are_made(tmp_path):
    with replacing(tmp_path / "runs" / "1" / "weights") as file:
        file.write(b"new")
    assert (tmp_path / "runs" / "1" / "weights").read_bytes() == b"new"


def test_the_bytes_are_on_the_disk_before_the_name(tmp_path, monkeypatch):
    steps = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (steps.append("fsync"), fsync(fd)))
    monkeypatch.setattr(os, "replace", lambda old, new: (steps.append("replace"), replace(old, new)))
    with replacing(tmp_path / "weights") as file:
        file.write(b"new")
    assert steps[:2] == ["fsync", "replace"]


@pytest.mark.skipif(os.name != "posix", reason="links and permissions as POSIX has them")
def test_links_and_permissions_stay(tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"old")
    target.chmod(0o600)
    link.symlink_to(target)
    with replacing(link) as file:
        file.write(b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    assert target.stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(os.name != "posix", reason="named pipes as POSIX has them")
def test_a_pipe_is_written_to_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with replacing(pipe) as file:
            file.write(b"new")
        assert os.read(reader, 10) == b"new"
    finally:
        os.close(reader)
    assert pipe.is_fifo()
    assert names(tmp_path) == ["pipe"]


def test_a_folder_in_the_way_is_an_error(tmp_path):
    (tmp_path / "weights").mkdir()
    with pytest.raises(OSError), replacing(tmp_path / "weights"):  # noqa: PT011 - the system's own
        pass


# ---------------------------------------------------------------- a disk that is full


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device without room")
def test_a_device_without_room_is_named():
    with pytest.raises(OSError, match="No space left on device") as caught, replacing("/dev/full") as file:
        file.write(b"new")
    assert caught.value.filename == "/dev/full"


@pytest.mark.skipif(os.name != "posix", reason="limits as POSIX has them")
def test_a_file_without_room_is_named_and_the_old_one_stays(tmp_path):
    target = tmp_path / "weights"
    target.write_bytes(b"old")
    program = (
        "import resource, sys; from xpcnn._disk.files import replacing\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n"
        "    with replacing(sys.argv[1]) as file:\n"
        "        file.write(bytes(100_000))\n"
        "except OSError as error:\n"
        "    print(error.filename, error.strerror, sep=chr(10))\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, str(target)], capture_output=True, text=True, check=True,
        env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)),
    )  # fmt: skip
    assert ended.stdout.splitlines() == [str(target), "File too large"]
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["weights"]


@pytest.mark.skipif(not os.path.exists("/dev/stdout"), reason="a name for standard output")
def test_standard_output_is_written_to_when_it_is_a_pipe(tmp_path):
    program = (
        "from xpcnn._disk.files import replacing\nwith replacing('/dev/stdout') as file: file.write(b'new')"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, cwd=tmp_path,
        env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)),
    )  # fmt: skip
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"new", b"")


def test_naming_keeps_a_name_that_is_there_and_other_errors():
    with pytest.raises(FileNotFoundError) as caught, naming("other"):
        open("absent/file")  # noqa: SIM115
    assert caught.value.filename == "absent/file"
    with pytest.raises(ValueError, match="no file"), naming("other"):
        raise ValueError("no file")
