"""CUDA kernels on the CPU: the text that NVRTC compiles for a GPU, compiled by a C++ compiler and run under scrutiny.

The threads of a block are fibers which one thread of the host runs in turn, each up to its next barrier or shuffle.
So a kernel gives the results that it gives on a GPU, and more is checked: every access to memory against the arrays
and against what other threads did, every integer for overflow, and that all threads of a block reach the same
barrier. `every_schedule` also compares the results of several orders of the threads. docs/kernels.md explains the
rest.
"""

from xpcnn.simulated.cuda.build import why_not
from xpcnn.simulated.cuda.module import RawKernel, RawModule
from xpcnn.simulated.cuda.schedules import ends_of_grids, every_schedule

__all__ = ["RawKernel", "RawModule", "ends_of_grids", "every_schedule", "why_not"]
