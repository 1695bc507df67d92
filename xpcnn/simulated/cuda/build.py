"""Compiling: a shared library for each text, kept in the user's cache under a name made from all that went into it."""

import hashlib
import os
import platform
import secrets
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from xpcnn.errors import KernelError

INCLUDE = Path(__file__).parent / "include"

FLAGS = ("-std=c++17", "-O1", "-fPIC", "-shared", "-w", "-fwrapv", "-ffp-contract=off")
"""No warnings, as the text is CUDA's to judge; no fused multiply-add, so that NumPy rounds alike."""

SANITIZE = ("-fsanitize=address", "-g")

ENVIRONMENT = "XPCNN_SIMULATED_SANITIZE"
"""Set to 1 by `sanitizer_environment`: libraries are built with the address sanitizer."""


def why_not() -> str | None:
    """Return a sentence on why kernels cannot be simulated on this machine, or None if they can."""
    if sys.platform == "win32":
        return (
            "simulated CUDA kernels need ucontext, which Windows lacks; "
            "run under WSL, or set XPCNN_KERNELS=reference for a device without kernels"
        )
    if compiler() is None:
        return (
            "simulated CUDA kernels need a C++ compiler, and neither $CXX, g++ nor clang++ is one here; "
            "install g++, or set XPCNN_KERNELS=reference for a device without kernels"
        )
    return None


@cache
def compiler() -> str | None:
    """Return the path of $CXX, g++ or clang++, the first that there is."""
    named = (os.environ.get("CXX"), "g++", "clang++")
    return next((found for name in named if name and (found := shutil.which(name))), None)


def cache_folder() -> Path:
    """Return where libraries are kept: $XPCNN_SIMULATED_CACHE, or "xpcnn/simulated" in the user's cache."""
    if named := os.environ.get("XPCNN_SIMULATED_CACHE"):
        return Path(named)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "xpcnn" / "simulated"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "xpcnn" / "simulated"


def build(source: str) -> Path:
    """Return the shared library of a C++ text, compiled now unless it was before.

    Raises
    ------
    KernelError
        Without a compiler, or if the text does not compile: the compiler's own words.
    """
    if (reason := why_not()) or (command := compiler()) is None:
        raise KernelError(reason)
    flags = FLAGS + (SANITIZE if os.environ.get(ENVIRONMENT) else ())
    library = _writable(cache_folder()) / f"{_key(source, command, flags)}.so"
    if not library.exists():
        text = library.with_suffix(f".{secrets.token_hex(4)}.cpp")
        made = text.with_suffix(".so")
        text.write_text(source, encoding="utf-8")
        try:
            done = subprocess.run(
                [command, *flags, f"-I{INCLUDE}", str(text), "-o", str(made)],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            if done.returncode:
                raise KernelError(f"the kernel does not compile: {done.stderr.strip()[:4000]}")
            os.replace(made, library)  # in one step: another process may be doing the same
        finally:
            text.unlink(missing_ok=True)
            made.unlink(missing_ok=True)
    return library


def sanitizer_environment() -> dict[str, str]:
    """Return the environment of a process in which a kernel's every access is checked against its arrays.

    The address sanitizer must be in the process before Python is, hence a process of its own.

    Raises
    ------
    KernelError
        If the compiler has no address sanitizer.
    """
    command = compiler()
    name = "libclang_rt.asan-x86_64.so" if command and "clang" in command else "libasan.so"
    found = subprocess.run(
        [command or "g++", f"-print-file-name={name}"], capture_output=True, text=True, check=False
    )
    library = found.stdout.strip()
    if os.sep not in library:
        raise KernelError(f"{command} has no address sanitizer; install it, or set CXX=g++")
    return {
        **os.environ,
        ENVIRONMENT: "1",
        "LD_PRELOAD": library,
        "PYTHONMALLOC": "malloc",  # each object on its own, so that a step beyond it is seen
        "ASAN_OPTIONS": "detect_leaks=0:exitcode=99",
    }


def _key(source: str, command: str, flags: tuple[str, ...]) -> str:
    headers = [file.read_bytes() for file in sorted(INCLUDE.iterdir())]
    what = "\0".join((source, _version(command), *flags, platform.machine())).encode()
    return hashlib.sha256(b"\0".join((what, *headers))).hexdigest()[:24]


@cache
def _version(command: str) -> str:
    done = subprocess.run([command, "--version"], capture_output=True, text=True, check=False)
    return f"{command} {done.stdout.partition(chr(10))[0]}"


@cache
def _writable(folder: Path) -> Path:
    """Return the folder, or a temporary one if it cannot be written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    except OSError:
        pass
    return Path(tempfile.mkdtemp(prefix="xpcnn-simulated-"))
