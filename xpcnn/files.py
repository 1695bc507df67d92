"""Files that are either the old ones or the new ones, whatever happens in between.

A program killed in the middle of open(path, "w") leaves neither. So the new content goes into a
file beside the old one, onto the disk, and only then takes its name: os.replace is one step on
every system.
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


@contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Give an OSError in the ``with`` block the file's name: one of a full disk comes without."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            error.filename = os.fspath(path)
        raise


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path`; it becomes `path` when the block ends.

    An exception in the block, Ctrl-C included, removes the temporary file and leaves `path` as it
    was. The folder is made if it is missing. Links are followed and the permissions of an older
    file kept; what is no file (a pipe, /dev/null) cannot be replaced and is written to directly.

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
    if os.path.exists(path) and not target.is_file():  # the real path of /dev/stdout, say, may not exist
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
    """Give a finished, closed file its name, once its bytes are on the disk."""
    with open(temporary, "r+b") as file:
        os.fsync(file.fileno())
    os.replace(temporary, target)
    if os.name == "posix":  # the name is on the disk when its folder is
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def keep_former(*paths: str | os.PathLike[str]) -> None:
    """Move the files that are there to numbered names beside them: weights.1.safetensors.

    All of them get the same number, the first that is free for each, so what belongs together stays
    recognisable.

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
    """Remove what `replacing` leaves beside `path` when the process is killed in its block."""
    target = Path(os.path.realpath(path))
    for temporary in target.parent.glob(f".{glob.escape(target.name)}.{'[0-9a-f]' * 8}.tmp"):
        temporary.unlink(missing_ok=True)
