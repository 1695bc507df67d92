"""Compiling: a shared library for each text, kept in the user's cache under a name made from all that went into it."""

import atexit
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from xpcnn._disk.caches import Unsafe, private_folder, say, user_folder
from xpcnn.errors import KernelError

INCLUDE, RUNTIME = (Path(__file__).parent / folder for folder in ("include", "runtime"))
"""The headers that a kernel's text sees, and the text that runs it."""

FLAGS = ("-std=c++17", "-O1", "-g1", "-gdwarf-4", "-fPIC", "-w", "-ffp-contract=off")
"""No warnings, since nvcc gives those; no fused multiply-add, so that results round as NumPy's."""

WATCH = (
    "-fsanitize=thread,alignment,bounds,signed-integer-overflow,shift,integer-divide-by-zero,float-cast-overflow,return",
    "-fno-sanitize-recover=all",
)
"""A call before every access to memory and at every undefined operation. runtime/ answers these calls; the compiler's
own
sanitizer libraries are not linked."""

SANITIZE = ("-fsanitize=address", "-fwrapv")

ENVIRONMENT = "XPCNN_SIMULATED_SANITIZE"
"""Set to 1 by `sanitizer_environment`: libraries are built with the address sanitizer."""

INSTEAD = "or set XPCNN_KERNELS=reference for a device without kernels"


def why_not() -> str | None:
    """Return a sentence on why kernels cannot be simulated on this machine, or None if they can."""
    if sys.platform == "win32":
        return f"simulated CUDA kernels need ucontext, which Windows lacks; run under WSL, {INSTEAD}"
    if compiler() is None:
        need = "simulated CUDA kernels need a C++ compiler, and $CXX, g++ and clang++ are all missing"
        return f"{need}; install g++, {INSTEAD}"
    return None


@cache
def compiler() -> str | None:
    """Return the path of $CXX, g++ or clang++, the first that exists."""
    named = (os.environ.get("CXX"), "g++", "clang++")
    return next((found for name in named if name and (found := shutil.which(name))), None)


def cache_folder() -> Path | None:
    """Return where libraries are kept: $XPCNN_SIMULATED_CACHE, or "simulated" in the user's cache, or nowhere."""
    if named := os.environ.get("XPCNN_SIMULATED_CACHE"):
        return Path(named)
    user = user_folder()
    return user and user / "simulated"


def remark() -> str:
    """Return why libraries are kept for this process only, or nothing if they are kept longer."""
    return _folder(cache_folder())[1]


def build(source: str) -> Path:
    """Return the shared library of a C++ text, compiled now unless an undamaged one is kept.

    Its name ends in the SHA-256 of its content, which is checked before it is used: to load a truncated library ends
    the process without an error message.

    Raises
    ------
    KernelError
        Without a compiler, or if the text does not compile: the compiler's own words.
    """
    if (reason := why_not()) or (command := compiler()) is None:
        raise KernelError(reason)
    sanitized = bool(os.environ.get(ENVIRONMENT))
    flags, linked = (FLAGS + SANITIZE, SANITIZE) if sanitized else (FLAGS + WATCH, ())
    folder, key = _folder(cache_folder())[0], _key(source, command, flags)
    for library in sorted(folder.glob(f"{key}-*.so")):
        try:
            if _named(key, library) == library.name:
                return library
        except OSError:  # another process found the damage at the same time
            continue
        say(f"{library} is damaged, and is compiled again: its SHA-256 is not the one in its name")
        library.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix=".", dir=folder) as own:
        compiled, made = Path(own, "kernel.o"), Path(own, "kernel.so")
        # from standard input, since a file's name would be in the library: equal texts make equal bytes
        arguments = [f"-I{INCLUDE}", "-x", "c++", "-c", "-", "-o", str(compiled)]
        _run([command, *flags, *arguments], "the kernel does not compile", source)
        arguments = [*linked, str(compiled), str(_runtime(command, sanitized)), "-o", str(made)]
        _run([command, "-shared", *arguments], "the kernel's library cannot be linked")
        library = folder / _named(key, made)
        os.replace(made, library)  # in one step: another process may be doing the same
    return library


@cache
def _runtime(command: str, sanitized: bool) -> Path:
    """Return the object file of runtime/, compiled once a process: it is the same for every kernel."""
    made = _own_folder("xpcnn-runtime-") / "runtime.o"
    flags = (*FLAGS, "-O2", *(SANITIZE if sanitized else ()))
    arguments = ["-c", str(RUNTIME / "runtime.cpp"), "-o", str(made)]
    _run([command, *flags, *arguments], "the simulator does not compile")
    return made


def _run(command: list[str], failure: str, source: str = "") -> None:
    done = subprocess.run(
        command, input=source, capture_output=True, text=True, encoding="utf-8", check=False
    )
    if done.returncode:
        raise KernelError(f"{failure}: {done.stderr.strip()[:4000]}")


def sanitizer_environment() -> dict[str, str]:
    """Return the environment of a process in which the address sanitizer checks every access of a kernel.

    The address sanitizer must be in the process before Python is, hence a process of its own.

    Raises
    ------
    KernelError
        If the compiler has no address sanitizer.
    """
    command = compiler() or "g++"
    name = "libclang_rt.asan-x86_64.so" if "clang" in command else "libasan.so"
    library = _said_by(command, f"-print-file-name={name}").strip()
    if os.sep not in library:
        raise KernelError(f"{command} has no address sanitizer; install it, or set CXX=g++")
    return {
        **os.environ,
        ENVIRONMENT: "1",
        "LD_PRELOAD": library,
        "PYTHONMALLOC": "malloc",  # each object by itself, so that an access beyond it is found
        "ASAN_OPTIONS": "detect_leaks=0:exitcode=99",
    }


@cache
def _said_by(command: str, question: str) -> str:
    return subprocess.run([command, question], capture_output=True, text=True, check=False).stdout


def _key(source: str, command: str, flags: tuple[str, ...]) -> str:
    headers = [file.read_bytes() for folder in (INCLUDE, RUNTIME) for file in sorted(folder.iterdir())]
    version = f"{command} {_said_by(command, '--version').partition(chr(10))[0]}"
    what = "\0".join((source, version, *flags, platform.machine())).encode()
    return hashlib.sha256(b"\0".join((what, *headers))).hexdigest()[:24]


def _named(key: str, library: Path) -> str:
    """Return the name of a library: the key of its inputs, and the hash of its content."""
    with open(library, "rb") as file:
        return f"{key}-{hashlib.file_digest(file, 'sha256').hexdigest()}.so"


@cache
def _folder(wanted: Path | None) -> tuple[Path, str]:
    """Return the folder and nothing; or one for this process and why, if the folder is not safe to use."""
    try:
        if wanted is not None:
            return private_folder(wanted), ""
        why = "there is no home folder; set XPCNN_SIMULATED_CACHE"
    except Unsafe as error:
        why = str(error)
    except OSError as error:
        why = f"{wanted} cannot be written to ({error.strerror}); set XPCNN_SIMULATED_CACHE"
    why = f"compiled CUDA kernels are kept for this process only: {why}"
    say(why)
    return _own_folder("xpcnn-simulated-"), why


def _own_folder(prefix: str) -> Path:
    """Return a new folder that is removed when this process ends."""
    folder = tempfile.mkdtemp(prefix=prefix)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)
