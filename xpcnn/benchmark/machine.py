"""What a time depends on."""

import datetime
import os
import platform

import numpy as np
from threadpoolctl import threadpool_info  # type: ignore[import-untyped]

from xpcnn.backend import active_backend
from xpcnn.commands.diagnosis import blas_rows, gpu_rows, host_row


def machine() -> dict[str, str]:
    """Return what a time depends on: processor, GPU, BLAS and its threads, versions, backend, kernels; and the day."""
    backend = active_backend()
    gpus = "; ".join(text for _, text in gpu_rows(backend.module))
    return {
        "cpu": host_row()[1],
        **({"gpu": gpus} if gpus else {}),
        "blas": "; ".join(text for _, text in blas_rows(threadpool_info())),
        **({"threads": backend.remark} if backend.remark else {}),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "backend": backend.name,
        "kernels": ", ".join(sorted(backend.kernels)) or "reference",
        "date": datetime.date.today().isoformat(),
    }


def load() -> float | None:
    """Return how many programs wanted a core in the last minute, on the average; None where nobody counts."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def threads() -> int:
    """Return XPCNN_THREADS, or, where it is not set, the cores that this process may use."""
    asked = os.environ.get("XPCNN_THREADS", "")
    return int(asked) if asked.isdecimal() and int(asked) else cores()


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
