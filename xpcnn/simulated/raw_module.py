"""`xp.RawModule`: CUDA kernels, whose launches are entered with what they read and write."""

from collections.abc import Sequence
from typing import Any

from xpcnn.simulated import cuda
from xpcnn.simulated.guard import OnDevice
from xpcnn.simulated.launches import enter


class RawModule(cuda.RawModule):
    """A CUDA text; see `xpcnn.simulated.cuda.RawModule`."""

    def get_function(self, name: str) -> Any:
        """Return a kernel by its name."""
        return Tracked(super().get_function(name))


class Tracked:
    """A kernel that reads all its arrays, and writes those that it does not declare const."""

    def __init__(self, kernel: cuda.RawKernel) -> None:
        self.kernel = kernel

    def __call__(
        self, grid: Sequence[int], block: Sequence[int], args: Sequence[Any], *, shared_mem: int = 0
    ) -> None:
        """Launch the kernel."""
        self.kernel(grid, block, args, shared_mem=shared_mem)
        kinds = list(zip(args, self.kernel.types, strict=True))
        arrays = [(array, kind) for array, kind in kinds if isinstance(array, OnDevice)]
        enter(
            self.kernel.name,
            [array for array, _ in arrays],
            [array for array, kind in arrays if not kind.startswith("c")],
            [*grid, *block, *(value for value, kind in kinds if "*" not in kind)],
        )

    def __getattr__(self, name: str) -> Any:
        return getattr(self.kernel, name)
