"""A folder for compiled code is this user's own, or is refused with the command that repairs it."""

import os
import sys
from pathlib import Path

import pytest

from xpcnn._disk import caches
from xpcnn._disk.caches import Unsafe, private_folder, say, user_folder
from xpcnn.data import cache_folder
from xpcnn.errors import DatasetError

posix = pytest.mark.skipif(os.name != "posix", reason="owners and permissions as POSIX has them")


def no_home():
    raise RuntimeError("Could not determine home directory.")


@posix
def test_a_folder_is_made_for_this_user_alone_whatever_the_umask(tmp_path):
    former = os.umask(0o000)
    try:
        made = private_folder(tmp_path / "a" / "b")
    finally:
        os.umask(former)
    assert [path.stat().st_mode & 0o777 for path in (made, made.parent)] == [0o700, 0o700]
    assert private_folder(made) == made


@posix
@pytest.mark.parametrize("mode", [0o777, 0o770, 0o1777, 0o702])
def test_a_folder_that_others_may_write_to_is_refused_with_the_command(tmp_path, mode):
    folder = tmp_path / "cache"
    folder.mkdir()
    folder.chmod(mode)
    with pytest.raises(Unsafe, match=f"others may write to {folder}; run: chmod go-w {folder}"):
        private_folder(folder)


@posix
def test_a_folder_that_others_may_exchange_is_refused(tmp_path):
    (tmp_path / "shared").mkdir()
    folder = private_folder(tmp_path / "shared" / "mine")
    folder.parent.chmod(0o777)
    with pytest.raises(Unsafe, match=r"may write to .*shared; run: chmod o-w"):
        private_folder(folder)
    folder.parent.chmod(0o1777)  # as /tmp is: nobody may rename what is another's
    assert private_folder(folder) == folder


@posix
def test_another_users_folder_is_refused(tmp_path, monkeypatch):
    folder = private_folder(tmp_path / "cache")
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(Unsafe, match="belongs to another user"):
        private_folder(folder)


@posix
def test_a_link_is_judged_by_where_it_leads(tmp_path):
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "link").symlink_to(tmp_path / "open")
    with pytest.raises(Unsafe, match="others may write to"):
        private_folder(tmp_path / "link")


def test_what_is_no_folder_is_an_error_of_the_system(tmp_path):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OSError, match=r"file"):
            private_folder(place)


@pytest.mark.parametrize("platform", ["linux", "darwin", "win32"])
def test_without_a_home_there_is_no_folder_and_data_sets_say_what_to_name(monkeypatch, platform):
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(Path, "home", no_home)
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA", "XPCNN_DATA"):
        monkeypatch.delenv(name, raising=False)
    assert user_folder() is None
    with pytest.raises(DatasetError, match=r"no home folder .* name a folder with data_dir"):
        cache_folder()


def test_a_sentence_is_said_once(monkeypatch, capsys):
    monkeypatch.setattr(caches, "_said", set())
    say("a folder is odd")
    say("a folder is odd")
    assert capsys.readouterr().err == "xpcnn: a folder is odd\n"
