"""One process at a time in a folder: a lock that names its holder and ends with its process.

The lock is the operating system's (flock, or a locked byte on Windows), on a small file that names the holder. A
killed process leaves the file, but no lock.
"""

import datetime
import errno
import json
import os
import platform
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from xpcnn.errors import LockedError, XpcnnWarning

BEYOND = 1 << 30
"""The byte to lock on Windows, where a locked byte cannot be read: beyond the holder's name."""


@contextmanager
def locked(path: str | os.PathLike[str]) -> Iterator[None]:
    """Lock a folder, or a file's name, inside the ``with`` block. A missing folder is made.

    Pipes and devices are not locked.

    Raises
    ------
    LockedError
        If another process holds it, with its number, its host, and since when.
    OSError
        Where the lock's file cannot be written.

    Warns
    -----
    XpcnnWarning
        Where the file system has no locks.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> with locked(folder):
    ...     os.listdir(folder)
    ['.lock']
    >>> os.listdir(folder)
    []
    """
    target = Path(os.path.realpath(path))
    try:  # one call: between two, another process may rename the file
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        mode = stat.S_IFREG
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
        yield
        return
    folder = target if stat.S_ISDIR(mode) else target.parent
    file = target / ".lock" if stat.S_ISDIR(mode) else folder / f".{target.name}.lock"
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = _acquire(file, path)
    try:
        yield
    finally:
        _release(file, descriptor)


def _acquire(file: Path, path: str | os.PathLike[str]) -> int:
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        try:
            if not _lock(descriptor):
                raise LockedError(
                    f"{path}: {_holder(descriptor)} writes there; wait for it, end it, or choose another place"
                )
            if _is_still(file, descriptor):  # and was not just removed by its last holder
                _name_holder(descriptor)
                return descriptor
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):
                os.close(descriptor)
                raise
            warnings.warn(
                XpcnnWarning(
                    f"{path}: this file system has no locks ({error.strerror}); see that no other run writes there"
                ),
                stacklevel=5,
            )
            return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _release(file: Path, descriptor: int) -> None:
    """Remove the file while it is locked, so that no process locks another file of this name; then unlock."""
    if os.name == "nt":  # an open file cannot be removed
        os.close(descriptor)
        with suppress(OSError):
            file.unlink()
        return
    try:
        if _is_still(file, descriptor):
            file.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


if os.name == "nt":
    import msvcrt  # pragma: no cover

    def _lock(descriptor: int) -> bool:
        os.lseek(descriptor, BEYOND, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EDEADLOCK):
                raise
            return False
        return True

else:
    import fcntl

    def _lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def _is_still(file: Path, descriptor: int) -> bool:
    try:
        found = os.stat(file)
    except FileNotFoundError:
        return False
    return os.path.samestat(found, os.fstat(descriptor))


def _name_holder(descriptor: int) -> None:
    now = datetime.datetime.now().isoformat(sep=" ", timespec="seconds")
    text = json.dumps({"pid": os.getpid(), "host": platform.node(), "since": now})
    os.ftruncate(descriptor, 0)
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.write(descriptor, text.encode())


def _holder(descriptor: int) -> str:
    os.lseek(descriptor, 0, os.SEEK_SET)
    try:
        holder = json.loads(os.read(descriptor, 4096))
        return f"process {holder['pid']:d} on {holder['host']:.255}, since {holder['since']:.32},"
    except (OSError, ValueError, TypeError, KeyError, RecursionError):  # its name is not written yet
        return "another process"
