"""A contender in a process of its own: ``python -m xpcnn.benchmark.worker``, which `processes.Worker` starts.

It reads one JSON object a line from standard input, ``{"do": "steps", "count": 10, ...}``, does that method of
`Contender` and writes its answer as a line, ``{"answer": ...}`` or ``{"error": ..., "kind": ...}``. It ends when its
input does, so it never outlives who started it.
"""

import json
import os
import signal
import sys
from typing import Any

from xpcnn import kernels
from xpcnn.backend import active_backend
from xpcnn.benchmark import layers
from xpcnn.benchmark.machine import machine, product_peak
from xpcnn.benchmark.phases import OwnTraining, Training, operations
from xpcnn.benchmark.workload import Workload
from xpcnn.errors import XpcnnError

Json = dict[str, Any]


class Contender:
    """Networks in training, and what may be asked about them; arguments and answers are JSON."""

    def __init__(self) -> None:
        self.trainings: list[tuple[Workload, Training]] = []

    def open(self, workload: Json, program: str = "xpcnn", channels_last: bool = False) -> Json:
        """Begin a training; return its number, the memory of its first step, seconds of a later one, and counts."""
        work, training = _begun(workload, program, channels_last)
        memory = training.first_step()
        self.trainings.append((work, training))
        model = work.network()
        return {
            "number": len(self.trainings) - 1,
            "memory": memory.bytes,
            "how": memory.how,
            "seconds": float(training.steps(2).sum(axis=1).min()),
            "operations": operations(model, work.input_shape, work.batch_size),
            "multiply_adds": model.multiply_adds(work.input_shape),
            "parameters": sum(parameter.data.size for parameter in model.parameters()),
        }

    def losses(
        self, workload: Json, count: int, program: str = "xpcnn", channels_last: bool = False
    ) -> list[float]:
        """Train a fresh network without dropout for `count` steps; return the loss of each."""
        _, training = _begun(workload, program, channels_last, check=True)
        return [float(training.loss) for _ in range(count) if training.step()]

    def steps(self, number: int, count: int, idle: int = 0) -> list[list[float]]:
        """Train for `idle` steps, then for `count`; return the seconds of these, by phase."""
        _, training = self.trainings[number]
        training.steps(idle)
        seconds: list[list[float]] = training.steps(count).tolist()
        return seconds

    def layers(self, number: int, count: int, idle: int = 0) -> Json:
        """As `steps`, layer by layer: the places, and their seconds."""
        work, training = self.trainings[number]
        assert isinstance(training, OwnTraining)
        training.steps(idle)
        places = layers.places(training, work.input_shape, work.batch_size)
        seconds = layers.time_layers(training, places, count)
        return {"places": [place._asdict() for place in places], "seconds": seconds.tolist()}

    def peak(self) -> float:
        """Return GFLOP/s of a matrix product."""
        return product_peak()

    def machine(self) -> dict[str, str]:
        """Return what a time here depends on."""
        return machine() | {
            key: value for _, training in self.trainings for key, value in training.versions.items()
        }

    def workspace(self) -> tuple[int, int] | None:
        """Return the bytes of workspace that the kernels hold, and the bound on it."""
        return kernels.workspace(active_backend().name)


def _begun(fields: Json, program: str, channels_last: bool, check: bool = False) -> tuple[Workload, Training]:
    image = fields["image"]
    work = Workload(**{**fields, "image": None if image is None else tuple(image)})
    work = work.check() if check else work
    if program == "xpcnn":
        return work, work.training()
    from xpcnn.benchmark.pytorch import TorchTraining

    return work, TorchTraining(work, channels_last)


def answer(contender: Contender, line: str) -> Json:
    """Return the answer to one line, or the error that the user can fix."""
    request = json.loads(line)
    try:
        return {"answer": getattr(contender, request.pop("do"))(**request)}
    except XpcnnError as error:
        return {"error": str(error), "kind": type(error).__name__}
    except MemoryError:
        return {"error": "there is not enough memory; pass a smaller batch size", "kind": "BenchmarkError"}


def main(contender: Contender) -> None:
    """Answer until the input ends. What libraries print goes to standard error, not among the answers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to every process of the terminal; ours ends us
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin:
        answers.write(json.dumps(answer(contender, line)) + "\n")
        answers.flush()


if __name__ == "__main__":
    main(Contender())
