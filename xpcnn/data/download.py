"""Fetching a file whose SHA-256 is known from whichever mirror still answers.

Bytes gather in NAME.part, which survives a broken transfer and is resumed, by the next attempt or
the next mirror; the file takes its name only when its checksum is right.
"""

import hashlib
import http.client
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from xpcnn.errors import DatasetError
from xpcnn.files import move_into_place

CHUNK = 1 << 16  # bytes
ATTEMPTS = 3  # a mirror
TIMEOUT = 30.0  # seconds without a byte


@dataclass(frozen=True)
class RemoteFile:
    """A file to fetch: its name, its size in bytes and the SHA-256 of its content, in hex."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Source:
    """Where a data set can be had: each file is looked for at MIRROR/NAME, mirrors in this order."""

    name: str
    files: tuple[RemoteFile, ...]
    mirrors: tuple[str, ...]


class _Refused(Exception):
    """A mirror that will not do; the next one may."""


class _Broken(Exception):
    """A transfer that stopped or spoilt; the same mirror may do better at another attempt."""


def download(source: Source, folder: Path, *, quiet: bool = False, timeout: float = TIMEOUT) -> list[Path]:
    """Fetch those files of `source` that `folder` lacks; return the paths of all of them.

    quiet hides the progress bar; timeout is in seconds without a byte.

    Raises
    ------
    DatasetError
        When no mirror gives a file; it lists what each of them answered and how to fetch the file by
        hand.
    """
    paths = []
    for file in source.files:
        target = folder / file.name
        if not target.is_file():
            try:
                folder.mkdir(parents=True, exist_ok=True)
                _from_any_mirror(source, file, target, quiet, timeout)
            except OSError as error:  # the disk's; the network's are caught where they arise
                raise DatasetError(
                    f"{source.name}: cannot write {target} ({error}); make room, or name another folder "
                    "with data_dir or the environment variable XPCNN_DATA"
                ) from error
        paths.append(target)
    return paths


def _from_any_mirror(source: Source, file: RemoteFile, target: Path, quiet: bool, timeout: float) -> None:
    part = target.with_name(target.name + ".part")
    answers = []
    for mirror in source.mirrors:
        url = f"{mirror}/{file.name}"
        try:
            _from_mirror(url, file, part, quiet, timeout)
        except _Refused as refusal:
            answers.append(f"  {url}: {refusal}")
        else:
            move_into_place(part, target)
            return
    raise DatasetError(
        f"{source.name}: expected {file.name} ({file.size} bytes) from one of {len(answers)} mirrors, got\n"
        + "\n".join(answers)
        + f"\nTry again later (the transfer resumes), or fetch these files by hand into {target.parent}:\n"
        + "\n".join(f"  {source.mirrors[0]}/{wanted.name}" for wanted in source.files)
    )


def _from_mirror(url: str, file: RemoteFile, part: Path, quiet: bool, timeout: float) -> None:
    """Complete `part` from one mirror and check it; a broken transfer is resumed a few times."""
    answer: Exception | None = None
    for _ in range(ATTEMPTS):
        try:
            resumed = _transfer(url, file, part, quiet, timeout)
        except _Broken as error:
            answer = error
            continue
        came = _sha256(part)
        if came == file.sha256:
            return
        part.unlink()
        answer = _Refused(f"wrong content, SHA-256 {came} in place of {file.sha256}")
        if not resumed:  # all of it was this mirror's
            break
    raise _Refused(str(answer))


def _transfer(url: str, file: RemoteFile, part: Path, quiet: bool, timeout: float) -> bool:
    """Append to `part` what it lacks; return whether some of it was there before."""
    start = part.stat().st_size if part.exists() else 0
    if start == file.size:
        return True
    if start > file.size:
        part.unlink()
        start = 0
    # identity: a Content-Encoding would change the bytes that are counted and summed
    headers = {"User-Agent": "xpcnn", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and start:  # it has fewer bytes than we do: ask for the whole
            part.unlink()
            raise _Broken(f"HTTP 416 {error.reason}") from error
        raise _Refused(f"HTTP {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise _Refused(f"no connection ({error.reason})") from error
    except (OSError, http.client.HTTPException) as error:
        raise _Broken(f"no answer ({_words(error)})") from error
    with response:
        start = _agreed_start(response, start, file)
        received = _append(response, start, file, part, quiet)
    if received != file.size:
        raise _Broken(f"the transfer broke off after {received} of {file.size} bytes")
    return start > 0


def _agreed_start(response: Any, asked: int, file: RemoteFile) -> int:
    """Return the offset of the answer's first byte: a server may ignore the Range it was asked for."""
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


def _append(response: Any, start: int, file: RemoteFile, part: Path, quiet: bool) -> int:
    """Write the answer into `part` from byte `start` on; return the bytes that `part` then has."""
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
    with progress, open(part, "ab" if start else "wb") as handle:
        while received <= file.size:
            try:
                chunk = response.read(CHUNK)
            except (OSError, http.client.HTTPException) as error:
                raise _Broken(f"broke off after {received} of {file.size} bytes ({_words(error)})") from error
            if not chunk:
                break
            handle.write(chunk)
            received += len(chunk)
            progress.update(len(chunk))
    return received


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__
