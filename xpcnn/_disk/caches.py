"""Folders for compiled code. It will be run, so only this user may write there.

A file is named by its sources, or begins with the hash of the rest, and is checked before it is used. Damaged code is
compiled again and never run.
"""

import os
import stat
import sys
from pathlib import Path


class Unsafe(Exception):
    """A folder into which another user may put code; the message says which command repairs it."""


def user_folder() -> Path | None:
    r"""Return this user's cache folder of xpcnn; None without a variable and a home folder.

    Windows: %LOCALAPPDATA%\xpcnn; macOS: ~/Library/Caches/xpcnn; elsewhere $XDG_CACHE_HOME/xpcnn, which is
    ~/.cache/xpcnn unless set.
    """
    try:
        if sys.platform == "win32":
            return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "xpcnn"
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Caches" / "xpcnn"
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "xpcnn"
    except RuntimeError:  # neither HOME nor an entry in the list of users
        return None


def private_folder(folder: Path) -> Path:
    """Make a folder that only this user can write to, if it is not there, and return it.

    Raises
    ------
    OSError
        If it cannot be made or written to.
    Unsafe
        If it belongs to another user, or other users may write to it or replace it.
    """
    for missing in reversed([path for path in (folder, *folder.parents) if not path.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(13, "no permission to write there", str(folder))
    if os.name == "posix":
        _check_owner(Path(os.path.realpath(folder)))
    return folder


def _check_owner(folder: Path) -> None:
    found = folder.stat()
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(20, "no folder", str(folder))
    if found.st_uid != os.geteuid():
        raise Unsafe(f"{folder} belongs to another user; remove it, or name another folder")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise Unsafe(f"others may write to {folder}; run: chmod go-w {folder}")
    for above in folder.parents:
        mode = above.stat().st_mode
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            raise Unsafe(
                f"other users may replace {folder}, since they may write to {above}; run: chmod o-w {above}"
            )


_said: set[str] = set()


def say(sentence: str) -> None:
    """Write a sentence for the user to stderr, once in a process."""
    if sentence not in _said:
        _said.add(sentence)
        sys.stderr.write(f"xpcnn: {sentence}\n")
