"""Machine code of compiled functions on the disk: one file for each function and types, checked before it is run.

    <SHA-256 of the rest><pickle of the machine code>     in <function>-<hash of all that it depends on>.xpcnn

Numba's own cache reads a pickle from whatever folder it finds, and a damaged index ends every run. Here the folder is
one that only this user can write to, and a file that does not fit its hash is compiled again.
"""

import hashlib
import os
import pickle
import platform
import secrets
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
from numba.core import caching, serialize
from numba.core.compiler import CompileResult

from xpcnn._disk.caches import Unsafe, private_folder, say, user_folder

_dumps: Any = serialize.dumps  # writes functions and types, unlike pickle
_rebuild: Any = CompileResult._rebuild


@cache
def folder() -> tuple[Path | None, str]:
    """Return the folder of the machine code, or None and why each process compiles it again."""
    named = os.environ.get("NUMBA_CACHE_DIR")
    user = user_folder()
    if not named and user is None:
        return None, "not kept: there is no home folder; set NUMBA_CACHE_DIR to keep it"
    place = Path(named) if named else Path(user or "") / "numba"
    try:
        return private_folder(place), ""
    except Unsafe as error:
        say(f"machine code of Numba's kernels is not kept, so they are compiled in every process: {error}")
        return None, f"not kept: {error}"
    except OSError as error:
        return None, f"not kept: {place} ({error.strerror}); set NUMBA_CACHE_DIR to keep it"


def remark() -> str:
    """Return why machine code is not kept, or nothing if it is."""
    _, why_not = folder()
    return f"machine code is {why_not}" if why_not else ""


class Kept(caching._Cache):
    """The cache of one function's machine code, with the methods that Numba calls."""

    def __init__(self, function: Any) -> None:
        self.function = function

    @property
    def cache_path(self) -> str:
        return str(folder()[0])

    def enable(self) -> None:
        """Do nothing: it is enabled."""

    def disable(self) -> None:
        """Do nothing: NUMBA_DISABLE_JIT is for that."""

    def flush(self) -> None:
        """Do nothing: a file's name has all that could make it stale."""

    def load_overload(self, signature: Any, context: Any) -> Any:
        """Return the compiled function for these types, or None."""
        context.refresh()
        if (file := self._file(signature, context.codegen())) is None:
            return None
        try:
            content = file.read_bytes()
        except OSError:
            return None
        digest, payload = content[:32], content[32:]
        try:
            if hashlib.sha256(payload).digest() != digest:
                raise ValueError("its SHA-256 is not that of its content")
            return _rebuild(context, *pickle.loads(payload))
        except Exception as error:  # an LLVM that does not read it, among others
            say(
                f"{file} is damaged ({error or type(error).__name__}): {self.function.__name__} is compiled again"
            )
            return None

    def save_overload(self, signature: Any, result: Any) -> None:
        """Write the compiled function for these types, whole or not at all."""
        if any(not lifted.can_cache for lifted in result.lifted) or result.library.has_dynamic_globals:
            return
        if (file := self._file(signature, result.codegen)) is None:
            return
        payload = _dumps(result._reduce())
        temporary = file.with_name(f".{file.name}.{secrets.token_hex(8)}.tmp")
        try:
            try:
                with open(temporary, "xb") as handle:
                    handle.write(hashlib.sha256(payload).digest() + payload)
                os.replace(temporary, file)
            finally:
                temporary.unlink(missing_ok=True)
        except OSError as error:
            say(f"machine code of Numba's kernels cannot be kept in {file.parent} ({error.strerror})")

    def _file(self, signature: Any, codegen: Any) -> Path | None:
        place, _ = folder()
        if place is None:
            return None
        code = self.function.__code__
        closure = [cell.cell_contents for cell in self.function.__closure__ or ()]
        parts = (
            *_versions(), self.function.__module__, self.function.__qualname__, repr(signature),
            repr(codegen.magic_tuple()), code.co_code, _dumps(closure) if closure else b"",
        )  # fmt: skip
        digest = hashlib.sha256(repr(parts).encode()).hexdigest()
        return place / f"{self.function.__name__}-{digest[:32]}.xpcnn"


@cache
def _versions() -> tuple[str, ...]:
    """Return what all machine code depends on: every source here, since one function contains others."""
    sources = hashlib.sha256()
    for file in sorted(Path(__file__).parent.glob("*.py")):
        sources.update(file.name.encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return (sources.hexdigest(), numba.__version__, llvmlite.__version__, np.__version__, platform.python_version(),
            platform.python_implementation(), platform.machine())  # fmt: skip
