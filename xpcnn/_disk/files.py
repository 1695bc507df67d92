"""Files that are either the old ones or the new ones, whatever happens in between.

A program killed in the middle of open(path, "w") leaves neither. So new content is written to a temporary file beside
the old one, which is then renamed: os.replace is one step on every system.
"""

import glob
import itertools
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


def reason(error: OSError) -> str:
    """Return what went wrong, in the system's words if it has any.

    >>> (
    ...     reason(OSError(28, "No space left on device")),
    ...     reason(OSError("half a write")),
    ...     reason(TimeoutError()),
    ... )
    ('No space left on device', 'half a write', 'TimeoutError')
    """
    known = error.strerror or (os.strerror(error.errno) if error.errno else "")
    return known or " ".join(str(error).split()) or type(error).__name__


@contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Add this file's name to an OSError without one, such as that of a full disk.

    >>> with naming("weights"):
    ...     raise OSError(28, "No space left on device")
    Traceback (most recent call last):
        ...
    OSError: [Errno 28] No space left on device: 'weights'
    """
    try:
        yield
    except OSError as error:
        if error.filename is None:
            raise OSError(error.errno or 0, reason(error), str(path)) from error
        raise


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path`; it becomes `path` when the block ends.

    An exception in the block, Ctrl-C included, removes the temporary file and leaves `path` as it was. A missing folder
    is made. Links are followed and the permissions of an older file kept. A pipe or device, such as /dev/null, is
    written to directly.

    Raises
    ------
    OSError
        Where the folder cannot be written to.

    Examples
    --------
    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp(), "notes.txt")
    >>> with replacing(target) as file:
    ...     _ = file.write(b"all or nothing")
    >>> target.read_text()
    'all or nothing'
    """
    target = Path(os.path.realpath(path))
    if os.path.exists(path) and not target.is_file():  # the real path of /dev/stdout may not exist
        with naming(path), open(path, "wb") as file:
            yield file
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        with naming(path):
            with open(temporary, "xb") as file:
                yield file
            if target.exists():
                shutil.copymode(target, temporary)
            move_into_place(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def move_into_place(temporary: Path, target: Path) -> None:
    """Rename a finished, closed file once its bytes are on the disk."""
    with open(temporary, "r+b") as file:
        os.fsync(file.fileno())
    os.replace(temporary, target)
    if os.name == "posix":  # the name is on the disk when its folder is
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def read_bounded(path: str | os.PathLike[str], most: int) -> bytes | None:
    """Return the contents of a file, or None if they are more than `most` bytes: a pipe may have no end."""
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            return None
        content = file.read(size + 1)
        while len(content) > size and (more := file.read(1 << 20)):  # it grows, or has no size
            content += more
            if len(content) > most:
                return None
    return content if len(content) <= most else None


def keep_former(*paths: str | os.PathLike[str]) -> None:
    """Rename existing files to numbered names: weights.1.safetensors.

    All get the same number, the first that is free for each, so that files of one run have one number.

    >>> import tempfile
    >>> notes = Path(tempfile.mkdtemp(), "notes.txt")
    >>> _ = notes.write_text("the first")
    >>> keep_former(notes)
    >>> notes.exists(), notes.with_name("notes.1.txt").read_text()
    (False, 'the first')
    """
    files = [Path(path) for path in paths]
    for number in itertools.count(1):
        kept = [file.with_name(f"{file.stem}.{number}{file.suffix}") for file in files]
        if not any(map(os.path.lexists, kept)):
            break
    for file, name in zip(files, kept, strict=True):
        if file.is_file():
            os.rename(file, name)


def remove_unfinished(path: str | os.PathLike[str]) -> None:
    """Remove the temporary files that `replacing` leaves beside `path` when its process is killed."""
    target = Path(os.path.realpath(path))
    for temporary in target.parent.glob(f".{glob.escape(target.name)}.{'[0-9a-f]' * 8}.tmp"):
        temporary.unlink(missing_ok=True)
