"""What the bits of a result depend on, besides the program: versions, kernels, and the processor's instructions.

The number of threads is not among them: sums are cut into the same parts for any number of threads.
"""

import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info  # type: ignore[import-untyped]

from xpcnn import __version__, kernels
from xpcnn.backend import Backend, active_backend


def circumstances() -> dict[str, str]:
    """Return by name what may differ on another machine or installation, for the active backend."""
    backend = active_backend()
    kind, workspace = backend.name.partition(":")[0], kernels.workspace(backend.name)
    return {
        "xpcnn": __version__,
        "numpy": np.__version__,
        "backend": kind,
        "kernels": _kernels(backend),
        **({"workspace": f"{workspace[1]} bytes"} if workspace and backend.kernels else {}),
        "BLAS": "; ".join(_blas()) or "unknown",
        "instructions": _instructions(),
        **_gpu(backend),
    }


def changes(saved: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Return what differs, as part of a sentence; an empty string if nothing does.

    >>> changes({"numpy": "2.4.6", "kernels": "numpy"}, {"numpy": "2.5.0", "kernels": "numpy"})
    'numpy is 2.5.0 (was 2.4.6)'
    """
    names = [name for name in {**saved, **now} if saved.get(name) != now.get(name)]
    return ", ".join(
        f"{name} is {now.get(name, 'absent')} (was {saved.get(name, 'absent')})" for name in names
    )


def _kernels(backend: Backend) -> str:
    """Return what the kernels are made with, or the packages of kernels that are not ours."""
    functions: list[Any] = [getattr(kernel, "func", kernel) for kernel in backend.kernels.values()]
    modules = {str(getattr(function, "__module__", "unknown")) for function in functions}
    made = {_made_with(module) for module in modules}
    named = [f"{name} {metadata.version(name)}" if name == "numba" else name for name in sorted(made)]
    return " and ".join(named) or "reference"


def _made_with(module: str) -> str:
    """Return what the kernels of a module are made with.

    >>> (
    ...     _made_with("xpcnn.kernels.cpu.plain.conv"),
    ...     _made_with("xpcnn.kernels.cuda.conv"),
    ...     _made_with("mine.conv"),
    ... )
    ('numpy', 'cuda', 'mine')
    """
    package, *rest = module.split(".")
    if [package, *rest[:1]] != ["xpcnn", "kernels"]:
        return package
    return {"plain": "numpy", "compiled": "numba"}.get(rest[2], rest[2]) if rest[1] == "cpu" else rest[1]


def _blas() -> list[str]:
    """Return NumPy's BLAS: another package may have loaded a second one."""
    libraries = [library for library in threadpool_info() if library["user_api"] == "blas"]
    own = [library for library in libraries if "numpy" in Path(library["filepath"]).parent.name]
    return sorted(
        f"{library['internal_api']} {library['version']} for {library.get('architecture', 'any')} "
        f"on {library['num_threads']} thread{'s' * (library['num_threads'] != 1)}"
        for library in own or libraries
    )


def _instructions() -> str:
    known: Any = np.show_config(mode="dicts")
    found = known.get("SIMD Extensions", {})
    return " ".join([platform.machine(), *found.get("baseline", []), *found.get("found", [])])


def _gpu(backend: Backend) -> dict[str, str]:
    runtime: Any = getattr(getattr(backend.module, "cuda", None), "runtime", None)
    if runtime is None or not runtime.getDeviceCount():
        return {}
    name = runtime.getDeviceProperties(runtime.getDevice())["name"].decode()
    return {
        "cupy": str(getattr(backend.module, "__version__", "unknown")),
        "CUDA": str(runtime.runtimeGetVersion()),
        "GPU": name,
    }
