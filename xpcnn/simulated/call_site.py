"""Which line of the program asked the device for something."""

import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent
PASSED_THROUGH = tuple(str(PACKAGE / path) for path in ("simulated", "backend", "kernels/cuda/launch.py"))
"""Files that ask only for others: the simulation, `to_device` and its relatives, and the launcher."""


def call_frame() -> tuple[str, int]:
    """Return file and line of the innermost frame outside of the simulation and of NumPy."""
    frame = sys._getframe(1)
    while frame.f_back is not None:
        file = frame.f_code.co_filename
        if not file.startswith((*PASSED_THROUGH, "<")) and "/numpy/" not in file:
            break
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno


def shown(site: tuple[str, int]) -> str:
    """Return "folder/file.py:line"."""
    path = Path(site[0])
    name = path.relative_to(PACKAGE) if path.is_relative_to(PACKAGE) else Path(path.parent.name, path.name)
    return f"{name.as_posix()}:{site[1]}"


def call_site() -> str:
    """Return the innermost frame outside of the simulation and of NumPy, as "folder/file.py:line"."""
    return shown(call_frame())
