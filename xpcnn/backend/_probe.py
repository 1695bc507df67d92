"""Why CuPy does or does not compute here: a few steps, and for one that fails the command that repairs it.

``cupy.is_available()`` overlooks absent CUDA headers and an absent cuBLAS: only use shows them. Each step needs the
one before it, so the first that fails is the cause, and those after it are not reached.
"""

import errno
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from typing import Any, NamedTuple

import numpy as np

OK, FAILED, NOT_REACHED = "ok", "failed", "not reached"
NOT_INSTALLED = "CuPy is not installed"

LEAST_MEMORY = 2**28
"""Bytes that must be free: less does not hold cuBLAS and one batch of images."""

_ABI = re.compile(  # the words of NumPy and Cython for a module that was compiled for another NumPy
    r"size changed, may indicate binary incompat|compiled against A[BP]I version|_ARRAY_API not found"
    r"|multiarray failed to import|compiled using NumPy"
)


class Step(NamedTuple):
    """One thing that CuPy needs, and whether it is there."""

    name: str
    state: str
    """"ok", "failed" or "not reached"."""
    seen: str = ""
    command: str = ""
    """What repairs a step that failed."""
    sentence: str = ""
    """Of a step that failed: what was seen, the command, and perhaps a remark in brackets."""


def probe_cupy() -> str | None:
    """Take the steps up to a kernel and a matrix product; return what is missing, or None if CuPy works.

    The sentence returned ends in the one command that repairs it, but for a remark in brackets.
    """
    return next((step.sentence for step in steps() if step.state == FAILED), None)


def steps() -> list[Step]:
    """Look at everything that CuPy needs, in order, as far as it is there."""
    found, taken = _Found(wheels()), list[Step]()
    for name, look in _STEPS.items():
        if taken and taken[-1].state != OK:
            taken.append(Step(name, NOT_REACHED))
            continue
        try:
            taken.append(Step(name, OK, look(found)))
        except _Failed as failed:
            taken.append(Step(name, FAILED, failed.seen, failed.command, str(failed)))
    return taken


def wheels() -> list[str]:
    """Return the names under which CuPy is installed, such as "cupy-cuda13x"."""
    names = {re.sub(r"[-_.]+", "-", found.name or "").lower() for found in metadata.distributions()}
    return sorted(name for name in names if re.fullmatch(r"cupy(-(cuda|rocm)[\w-]+)?|amd-cupy", name))


class _Failed(Exception):
    def __init__(self, seen: str, command: str, *, advice: str = "", remark: str = "") -> None:
        super().__init__(f"{seen}; {advice}run: {command}" + (f"   ({remark})" if remark else ""))
        self.seen, self.command = seen, command


@dataclass
class _Found:
    """What the steps have found so far."""

    wheels: list[str]
    cupy: Any = None
    abi: str = ""
    """NumPy's message, if CuPy was compiled for another NumPy."""

    @property
    def wheel(self) -> str | None:
        return self.wheels[0] if self.wheels else None

    @property
    def runtime(self) -> Any:
        return self.cupy.cuda.runtime

    @property
    def amd(self) -> bool:
        return bool(self.runtime.is_hip)

    @property
    def install(self) -> str:
        """The command that brings the libraries for this wheel; AMD's are no wheels."""
        return "sudo apt install rocm" if self.amd else _exchange(self.wheel, self.wheel or "cupy-cuda13x")

    @property
    def look(self) -> str:
        """The command of the driver that shows its GPUs, and who uses them."""
        return "rocm-smi" if self.amd else "nvidia-smi"

    @property
    def container(self) -> str:
        return f"in a container: docker run {'--device /dev/kfd --device /dev/dri' if self.amd else '--gpus all'}"


# ---------------------------------------------------------------- the steps


def _one_wheel(found: _Found) -> str:
    if len(found.wheels) < 2:
        return found.wheel or "none that pip knows of"
    # cupy-cuda13x comes by itself with xpcnn[simulated], so another one was chosen on purpose
    keep = next(
        (name for name in found.wheels if _supported(name) and name != "cupy-cuda13x"), "cupy-cuda13x"
    )
    names = " ".join(found.wheels)
    raise _Failed(
        f"several CuPys are installed and damage each other: {names.replace(' ', ', ')}",
        f'pip uninstall -y {names} && pip install "{_requirement(keep)}"',
    )


def _imports(found: _Found) -> str:
    reinstall = f'pip install --force-reinstall "{_requirement(found.wheel or "cupy-cuda13x")}"'
    try:
        import cupy
    except Exception as error:
        if _ABI.search(str(_cause(error))):
            found.abi = _first_line(error)
            return "as far as its compiled part"
        if not isinstance(error, ModuleNotFoundError) or error.name != "cupy":
            raise _Failed(f"CuPy does not import ({_first_line(error)})", reinstall) from error
        if found.wheel:  # as after one of two wheels was uninstalled
            raise _Failed(f"{found.wheel} is installed but its files are gone", reinstall) from error
        others = "xpcnn[cuda12] for a CUDA 12 driver, xpcnn[rocm] for AMD"
        raise _Failed(NOT_INSTALLED, 'pip install "xpcnn[cuda13]"', remark=others) from error
    found.cupy = cupy
    return f"CuPy {cupy.__version__}"


def _numpy_abi(found: _Found) -> str:
    if not found.abi:
        return f"NumPy {np.__version__}"
    raise _Failed(
        f"CuPy was compiled for another NumPy than {np.__version__} ({found.abi})",
        f'pip install --upgrade "{_requirement(found.wheel or "cupy-cuda13x")}" "numpy>=2"',
    )


def _driver(found: _Found) -> str:
    whose = "AMD" if found.amd else "NVIDIA"
    seen = f"CuPy {found.cupy.__version__} finds no {whose} driver"
    more = {"advice": "install it, then ", "remark": found.container}
    with _failing(seen, found.look, **more):
        version = found.runtime.driverGetVersion()
    if version == 0:
        raise _Failed(seen, found.look, **more)
    return f"HIP {version}" if found.amd else f"up to CUDA {_cuda(version)}"


def _new_enough(found: _Found) -> str:
    """Hold the driver to the major number only: within one, CUDA's minor versions go together."""
    with _failing("CuPy does not find its CUDA runtime", found.install):
        driver, runtime = found.runtime.driverGetVersion(), found.runtime.runtimeGetVersion()
    if found.amd:
        return f"for HIP {runtime}"
    if driver // 1000 >= runtime // 1000:
        return f"for CUDA {_cuda(runtime)}"
    seen = f"the driver is too old: it reaches to CUDA {_cuda(driver)}, and CuPy is for CUDA {_cuda(runtime)}"
    if driver // 1000 < 12:
        raise _Failed(seen, found.look, advice="update the NVIDIA driver, then ")
    older = f"cupy-cuda{driver // 1000}x"
    raise _Failed(seen, _exchange(found.wheel, older), remark="or update the driver")


def _device(found: _Found) -> str:
    hidden_by = ("HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES") if found.amd else ()
    hiding = next((name for name in (*hidden_by, "CUDA_VISIBLE_DEVICES") if name in os.environ), None)
    seen = f"{hiding}={os.environ[hiding]!r} hides every GPU" if hiding else "CuPy finds no GPU"
    command = f"unset {hiding}" if hiding else found.look
    remark = "" if hiding else found.container
    with _failing(seen, command, remark=remark):
        count: int = found.runtime.getDeviceCount()
    if count == 0:
        raise _Failed(seen, command, remark=remark)
    return f"{count} GPU{'s' * (count != 1)}"


def _memory(found: _Found) -> str:
    remark = "it lists the processes that use the GPU: end one"
    with _failing("the GPU cannot be opened", found.look, remark=remark):
        free, total = found.cupy.cuda.Device().mem_info
    seen = f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB"
    if free < LEAST_MEMORY:
        raise _Failed(f"the GPU's memory is full: {seen} are free", found.look, remark=remark)
    return seen


def _kernel(found: _Found) -> str:
    """Fill an array, which takes a kernel with CUDA's headers; CuPy keeps on disk what it has compiled once."""
    try:
        values = found.cupy.asnumpy(found.cupy.arange(4, dtype=found.cupy.float32)).tolist()
    except Exception as error:
        why = _first_line(error)
        if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            kept = os.path.join(tempfile.gettempdir(), "cupy")
            raise _Failed(f"CuPy cannot keep kernels ({why})", f"export CUPY_CACHE_DIR={kept}") from error
        if "gpu-architecture" in str(error) and found.wheel == "cupy-cuda13x":
            raise _Failed(
                f"CUDA 13 no longer knows a GPU as old as this one ({why})",
                _exchange(found.wheel, "cupy-cuda12x"),
            ) from error
        raise _Failed(
            f"no kernel compiles: CUDA's headers or NVRTC are missing ({why})", found.install
        ) from error
    if values != [0, 1, 2, 3]:
        raise _Failed(f"a kernel computes wrongly (got {values}, not 0 to 3)", found.install)
    return "compiles and runs"


def _product(found: _Found) -> str:
    with _failing("no matrix product: cuBLAS is missing or broken", found.install):
        square = found.cupy.arange(4, dtype=found.cupy.float32).reshape(2, 2)
        product = float((square @ square)[1, 1])
    if product != 11.0:
        raise _Failed(f"cuBLAS multiplies wrongly (got {product}, not 11)", found.install)
    return "multiplies"


_STEPS: dict[str, Callable[[_Found], str]] = {
    "one wheel": _one_wheel, "import": _imports, "NumPy ABI": _numpy_abi, "driver": _driver,
    "driver version": _new_enough, "GPU": _device, "free memory": _memory, "kernel": _kernel, "cuBLAS": _product,
}  # fmt: skip


# ---------------------------------------------------------------- their messages


@contextmanager
def _failing(seen: str, command: str, **more: str) -> Iterator[None]:
    """Turn whatever CuPy raises into a step that failed."""
    try:
        yield
    except Exception as error:
        raise _Failed(f"{seen} ({_first_line(error)})", command, **more) from error


def _supported(wheel: str) -> bool:
    """Whether xpcnn works with this wheel: one for CUDA 12 or later, or for ROCm 7 or later."""
    return re.fullmatch(r"cupy-cuda1[2-9]x|cupy-rocm-([7-9]|1\d)-\d+", wheel) is not None


def _requirement(wheel: str) -> str:
    """Return what to ask pip for: the wheel, and CUDA's libraries, where those are wheels too."""
    return f"{wheel}[ctk]" if re.fullmatch(r"cupy-cuda1[2-9]x", wheel) else wheel


def _exchange(wheel: str | None, wanted: str) -> str:
    """Return the command that installs `wanted`, or what xpcnn can use, in place of `wheel`."""
    wanted = wanted if _supported(wanted) else "cupy-cuda13x"
    gone = "" if wheel in (None, wanted) else f"pip uninstall -y {wheel} && "
    return f'{gone}pip install "{_requirement(wanted)}"'


def _cuda(version: int) -> str:
    return f"{version // 1000}.{version % 1000 // 10}"


def _cause(error: BaseException) -> BaseException:
    """Return what was raised first: CuPy wraps it in a page of advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _first_line(error: BaseException) -> str:
    error = _cause(error)
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0].strip()}" if lines else type(error).__name__
