"""Fetching a file whose SHA-256 is known from whichever mirror still answers.

Bytes are written to a temporary file (`part`). The next attempt, the next mirror and, as NAME.part, the next call
continue it. It gets its final name when its checksum is right. The checksum is computed again when the file is used.
"""

import hashlib
import http.client
import urllib.error
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from xpcnn._disk.files import reason
from xpcnn.data.deadline import Deadline
from xpcnn.data.part import Part
from xpcnn.errors import DatasetError

CHUNK = 1 << 16  # bytes
ATTEMPTS = 3  # a mirror
TIMEOUT = 30.0  # seconds without a byte
SLOWEST = 20_000  # bytes a second on average: a slower mirror is given up
PATIENCE = 300.0  # seconds in addition, for small files and slow starts


@dataclass(frozen=True)
class RemoteFile:
    """A file to fetch: its name, its size in bytes and the SHA-256 of its content, in hex."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Source:
    """Where to get a data set: each file is at MIRROR/NAME, and the mirrors are tried in this order."""

    name: str
    files: tuple[RemoteFile, ...]
    mirrors: tuple[str, ...]


class _Refused(Exception):
    """A mirror that cannot give the file; the next one may."""


class _Broken(Exception):
    """A transfer that stopped; the next attempt at the same mirror may succeed."""


def download(
    source: Source, folder: Path, *, quiet: bool = False, timeout: float = TIMEOUT, limit: float | None = None
) -> list[Path]:
    """Fetch those files of `source` that `folder` lacks; return the paths of all of them, checked.

    quiet hides the progress bar. timeout is in seconds without a byte. limit is in seconds for one file from one
    mirror: PATIENCE plus the time at SLOWEST bytes a second, unless given. Several processes may download at once.

    Raises
    ------
    DatasetError
        If no mirror gives a file, with the answer of each and how to fetch the file by hand; if a file that is there
        is not the published one.
    """
    paths = []
    for file in source.files:
        target = folder / file.name
        if target.is_file():
            check_published(source, [target])
        else:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                seconds = PATIENCE + file.size / SLOWEST if limit is None else limit
                _from_any_mirror(source, file, target, quiet, timeout, seconds)
            except OSError as error:  # of the disk; those of the network are caught below
                raise DatasetError(
                    f"{source.name}: cannot write {target} ({reason(error)}); make room, or name another folder "
                    "with data_dir or the environment variable XPCNN_DATA"
                ) from error
        paths.append(target)
    return paths


def check_published(source: Source, paths: Iterable[Path]) -> None:
    """Raise DatasetError if a file has the name of a published one but another size or SHA-256."""
    for path in paths:
        if what := unlike_published(source, path):
            raise DatasetError(
                f"{path}: expected the file that {source.name} publishes, got one of {what}: it is damaged or "
                "another; delete it or move it, and it is fetched again"
            )


def unlike_published(source: Source, path: Path) -> str:
    """Return how a file differs from the published one of its name; an empty string if it does not."""
    for file in source.files:
        if file.name == path.name:
            try:
                if (size := path.stat().st_size) != file.size:
                    return f"{size:,} bytes in place of {file.size:,}"
                with open(path, "rb") as handle:
                    came = hashlib.file_digest(handle, "sha256").hexdigest()
            except OSError as error:
                raise DatasetError(
                    f"{path}: cannot be read ({reason(error)}); check its permissions"
                ) from error
            return "" if came == file.sha256 else f"SHA-256 {came} in place of {file.sha256}"
    return ""


def _from_any_mirror(
    source: Source, file: RemoteFile, target: Path, quiet: bool, timeout: float, limit: float
) -> None:
    answers = []
    with Part(target) as part:
        for mirror in source.mirrors:
            url = f"{mirror}/{file.name}"
            try:
                with Deadline(limit) as deadline:
                    _from_mirror(url, file, part, quiet, timeout, deadline)
            except _Refused as refusal:
                answers.append(f"  {url}: {refusal}")
            else:
                part.finish()
                return
    raise DatasetError(
        f"{source.name}: expected {file.name} ({file.size} bytes) from one of {len(answers)} mirrors, got\n"
        + "\n".join(answers)
        + f"\nTry again later (the transfer resumes), or fetch these files by hand into {target.parent}:\n"
        + "\n".join(f"  {source.mirrors[0]}/{wanted.name}" for wanted in source.files)
    )


def _from_mirror(
    url: str, file: RemoteFile, part: Part, quiet: bool, timeout: float, deadline: Deadline
) -> None:
    """Complete `part` from one mirror and check it; a broken transfer is resumed a few times."""
    answer: Exception | None = None
    for _ in range(ATTEMPTS):
        try:
            resumed = _transfer(url, file, part, quiet, timeout, deadline)
        except _Broken as error:
            if deadline.passed:
                raise _Refused(
                    f"too slow: {part.size} of {file.size} bytes in {deadline.seconds:.0f} seconds"
                ) from error
            answer = error
            continue
        came = part.sha256()
        if came == file.sha256:
            return
        part.restart()
        answer = _Refused(f"wrong content, SHA-256 {came} in place of {file.sha256}")
        if not resumed:  # all bytes came from this mirror
            break
    raise _Refused(str(answer))


def _transfer(
    url: str, file: RemoteFile, part: Part, quiet: bool, timeout: float, deadline: Deadline
) -> bool:
    """Append the missing bytes to `part`; return whether it had any before."""
    start = part.size
    if start == file.size:
        return True
    if start > file.size:
        part.restart()
        start = 0
    # identity: a Content-Encoding would change the bytes
    headers = {"User-Agent": "xpcnn", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        response = deadline.open(urllib.request.Request(url, headers=headers), timeout)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and start:  # the server's file is shorter: ask for all of it
            part.restart()
            raise _Broken(f"HTTP 416 {error.reason}") from error
        raise _Refused(f"HTTP {error.code} {' '.join(str(error.reason).split())}") from error
    except urllib.error.URLError as error:
        if deadline.passed:
            raise _Broken("no answer in time") from error
        raise _Refused(f"no connection ({error.reason})") from error
    except (OSError, http.client.HTTPException) as error:
        raise _Broken(f"no answer ({_words(error)})") from error
    except ValueError as error:  # a redirection to an invalid address
        raise _Refused(f"an invalid address ({_words(error)})") from error
    with response:
        start = _agreed_start(response, start, file)
        received = _append(response, start, file, part, quiet)
    if received != file.size:
        raise _Broken(f"the transfer broke off after {received} of {file.size} bytes")
    return start > 0


def _agreed_start(response: Any, asked: int, file: RemoteFile) -> int:
    """Return the offset of the answer's first byte: a server may ignore the Range of the request."""
    start = 0
    if response.status == 206:
        span = response.headers.get("Content-Range", "")
        if not span.startswith(f"bytes {asked}-"):
            raise _Refused(f"asked for bytes {asked}-, got Content-Range {span!r}")
        start = asked
    length = response.length  # None where the server does not say
    if length is not None and start + length != file.size:
        raise _Refused(f"expected {file.size} bytes, got {start + length}: not the file that was asked for")
    return start


def _append(response: Any, start: int, file: RemoteFile, part: Part, quiet: bool) -> int:
    """Append the answer to `part`, which has `start` bytes; return how many it has then."""
    received = start
    progress = tqdm(
        desc=file.name,
        initial=start,
        total=file.size,
        unit="B",
        unit_scale=True,
        unit_divisor=1024,
        disable=quiet,
    )
    with progress:
        if not start:
            part.restart()
        while received <= file.size:
            try:
                chunk = response.read1(CHUNK)  # the bytes that have arrived: read() would wait for all
            except (OSError, http.client.HTTPException, ValueError) as error:
                raise _Broken(f"broke off after {received} of {file.size} bytes ({_words(error)})") from error
            if not chunk:
                break
            part.append(chunk)
            received += len(chunk)
            progress.update(len(chunk))
    return received


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__
