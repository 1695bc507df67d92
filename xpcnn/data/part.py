"""The temporary file of a download, which gets its final name when it is complete.

Its name is random, so two processes never write to one file, and no other user can have put a link there. After a
broken download it is renamed NAME.part; the next download renames that in one step before it continues. A killed
process leaves a file with a random name. The system drops the lock of a killed process, so an unlocked file is free.
"""

import glob
import hashlib
import importlib.util
import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from xpcnn._disk.files import move_into_place

fcntl: Any = importlib.import_module("fcntl") if importlib.util.find_spec("fcntl") else None
"""None on Windows, where an open file cannot be renamed."""


class Part:
    """An unfinished download of `target`, new or continued."""

    def __init__(self, target: Path) -> None:
        self.target, self.left = target, target.with_name(target.name + ".part")
        self.own = self._drawn()
        self.file = self._begun() or self._new()
        self.finished = False

    def __enter__(self) -> "Part":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Keep an unfinished file as NAME.part, for the next download."""
        if self.finished:
            return
        size = self.size
        with suppress(OSError):
            if size and not (self.left.is_file() and self.left.stat().st_size > size):
                with suppress(OSError):  # the disk may be full: lost bytes are fetched again
                    self.file.flush()
                if fcntl is None:
                    self.file.close()
                os.replace(self.own, self.left)
        with suppress(OSError):
            self.own.unlink(missing_ok=True)
        with suppress(OSError):
            self.file.close()

    @property
    def size(self) -> int:
        """Bytes so far."""
        return int(self.file.seek(0, os.SEEK_END))

    def restart(self) -> None:
        """Delete all bytes."""
        self.file.seek(0)
        self.file.truncate()

    def append(self, chunk: bytes) -> None:
        """Write to the end."""
        self.file.write(chunk)

    def sha256(self) -> str:
        """Return the SHA-256 of this file, in hex, even if its name now belongs to another file."""
        self.file.seek(0)
        return hashlib.file_digest(self.file, "sha256").hexdigest()

    def finish(self) -> None:
        """Give the file its name."""
        self.finished = True
        self.file.flush()
        os.fsync(self.file.fileno())
        if fcntl is None:
            self.file.close()
        move_into_place(self.own, self.target)
        self.file.close()

    def _drawn(self) -> Path:
        return self.target.with_name(f".{self.target.name}.{secrets.token_hex(8)}.part")

    def _new(self) -> Any:
        while True:
            file = open(self.own, "x+b", opener=_no_links)  # noqa: SIM115 - this object closes it
            if _lock(file) is not False:
                return file
            file.close()  # another process took it for an abandoned one before it was locked
            self.own = self._drawn()

    def _begun(self) -> Any:
        with suppress(OSError):
            if stat.S_ISREG(self.left.lstat().st_mode):
                os.rename(self.left, self.own)  # one process succeeds, the others begin a new file
                if file := _opened(self.own):
                    return file
                self.own.unlink()
        name = glob.escape(self.target.name)
        for path in self.target.parent.glob(f".{name}.{'[0-9a-f]' * 16}.part") if fcntl else ():
            if file := _opened(path):
                self.own = path
                return file
        return None


def _opened(path: Path) -> Any:
    """Open a file to continue, if it is a plain file of this user with one name, and no process writes to it."""
    try:
        file = open(path, "r+b", opener=_no_links)  # noqa: SIM115 - returned open
    except OSError:
        return None
    with suppress(OSError):
        found = os.fstat(file.fileno())
        mine = os.name != "posix" or found.st_uid == os.geteuid()
        plain = stat.S_ISREG(found.st_mode) and found.st_nlink == 1
        if mine and plain and (_lock(file) or fcntl is None) and os.path.samestat(found, path.lstat()):
            return file
    file.close()
    return None


def _no_links(path: str, flags: int) -> int:
    more = getattr(os, "O_NOFOLLOW", 0) | getattr(
        os, "O_NONBLOCK", 0
    )  # and do not wait for the other end of a pipe
    return os.open(path, flags | more, 0o666)


def _lock(file: Any) -> bool | None:
    """Return whether the file is locked for this process; None where it cannot be."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True
