"""How long each part of a training step takes, and how fast that is in operations a second."""

import datetime
import itertools
import platform
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_info  # type: ignore[import-untyped]

from xpcnn.backend import active_backend, synchronize, to_device
from xpcnn.data import batches
from xpcnn.diagnosis import blas_rows, gpu_rows, host_row
from xpcnn.errors import DatasetError
from xpcnn.layers import Layer
from xpcnn.losses import SoftmaxCrossEntropy
from xpcnn.optimizers import Optimizer
from xpcnn.tables import aligned

PHASES = ("data", "forward", "backward", "update")
"""A batch and its upload; the network and its loss; their gradients; the optimizer's step."""


class Timing(NamedTuple):
    """One phase over all steps: median and percentiles, its share of the time, operations in a step."""

    median_ms: float
    p10_ms: float
    p90_ms: float
    share: float
    operations: int

    @property
    def gflops(self) -> float:
        """Return 10^9 operations a second, in the median."""
        return self.operations / self.median_ms / 1e6


def time_steps(
    model: Layer,
    optimizer: Optimizer,
    dataset: tuple[np.ndarray, np.ndarray],
    *,
    batch_size: int,
    steps: int,
    warm_up: int = 0,
    clock: Callable[[], float] = time.perf_counter,
) -> np.ndarray:
    """Train for `warm_up` steps and then for `steps` that are timed; return seconds (steps, len(PHASES)).

    The device is synchronised before each reading of the clock, and a phase begins where the one before it ended,
    so the phases of a step add up to the step. All batches are whole ones, in a fixed shuffle.

    Raises
    ------
    DatasetError
        If the data set is smaller than one batch.
    """
    images, labels = dataset
    whole = len(images) // batch_size * batch_size
    if whole == 0:
        raise DatasetError(
            f"time_steps: expected at least one batch of {batch_size}, got {len(images)} images; "
            "pass a smaller batch_size"
        )
    shuffled = batches(images[:whole], labels[:whole], batch_size, np.random.default_rng(0))
    feed = itertools.chain.from_iterable(itertools.repeat(shuffled))
    criterion, seconds = SoftmaxCrossEntropy(), np.empty((warm_up + steps, len(PHASES)))
    model.train()

    def now() -> float:
        synchronize()
        return clock()

    for step in seconds:
        times = [now()]
        x, t = map(to_device, next(feed))
        times.append(now())
        criterion(model(x), t)
        times.append(now())
        model.backward(criterion.backward(), need_dx=False)
        times.append(now())
        optimizer.step()
        times.append(now())
        step[:] = np.diff(times)
    return seconds[warm_up:]


def operations(model: Layer, input_shape: tuple[int, ...], batch_size: int) -> dict[str, int]:
    """Return the floating-point operations of each phase for one batch: two for every multiply-add of the layers.

    Backward costs every layer its multiply-adds twice, for dW and for dx; the first layer, whose dx nobody reads,
    once. Additions of a bias, activations, pooling, the loss and the update count as nothing.

    >>> from xpcnn.layers import Affine, Sequential
    >>> operations(Sequential(Affine(3, 4), Affine(4, 2)), (3,), batch_size=10)
    {'data': 0, 'forward': 400, 'backward': 560, 'update': 0}
    """
    forward = model.multiply_adds(input_shape)
    _, first, shape = next(model.walk(input_shape))
    backward = 2 * forward - first.multiply_adds(shape)
    return {
        "data": 0,
        "forward": 2 * batch_size * forward,
        "backward": 2 * batch_size * backward,
        "update": 0,
    }


def timings(seconds: np.ndarray, counts: dict[str, int]) -> dict[str, Timing]:
    """Return the timing of every phase, and of the whole step as "step", from `time_steps` and `operations`.

    The median of a sum is not the sum of medians, so the phases' medians only nearly add up to the step's.
    """
    columns = {name: seconds[:, column] for column, name in enumerate(PHASES)} | {"step": seconds.sum(axis=1)}
    counts = counts | {"step": sum(counts.values())}
    table = {}
    for name, column in columns.items():
        p10, median, p90 = (float(value) for value in np.percentile(column * 1e3, (10, 50, 90)))
        table[name] = Timing(median, p10, p90, float(column.sum() / seconds.sum()), counts[name])
    return table


def timing_table(table: dict[str, Timing]) -> str:
    """Lay out what `timings` returned.

    >>> print(
    ...     timing_table(
    ...         {"forward": Timing(2.0, 1.5, 3.0, 0.5, 4_000_000), "update": Timing(2.0, 2.0, 2.0, 0.5, 0)}
    ...     )
    ... )
    phase    median ms  10% to 90%    share  GFLOP/s
    ------------------------------------------------
    forward       2.00  1.50 to 3.00  50.0%      2.0
    update        2.00  2.00 to 2.00  50.0%        .
    """
    rows = [
        (name, f"{row.median_ms:.2f}", f"{row.p10_ms:.2f} to {row.p90_ms:.2f}", f"{row.share:.1%}",
         f"{row.gflops:.1f}" if row.operations else ".")
        for name, row in table.items()
    ]  # fmt: skip
    return aligned([("phase", "median ms", "10% to 90%", "share", "GFLOP/s"), *rows])


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
