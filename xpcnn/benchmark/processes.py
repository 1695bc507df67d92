"""Contenders as processes that stay alive, so that they can take turns.

In one process they could not differ in what is chosen when it starts: kernels, BLAS's threads, the memory allocator.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import xpcnn
from xpcnn import errors
from xpcnn.errors import BenchmarkError, XpcnnError

BLAS_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
PROGRAM = ("-m", "xpcnn.benchmark.worker")


class Worker:
    """A process that runs `worker.Contender`; ``with Worker("tuned") as worker: worker.ask("peak")``.

    Parameters
    ----------
    name : str
        For messages.
    environment : dict
        Variables that differ from this process's. XPCNN_THREADS holds for BLAS too.
    program : arguments of Python
        Which program answers.
    """

    def __init__(
        self, name: str, environment: Mapping[str, str] | None = None, program: Sequence[str] = PROGRAM
    ) -> None:
        self.name = name
        home = str(Path(xpcnn.__file__).parents[1])  # the same xpcnn there, installed or not
        variables = {**os.environ, **(environment or {})}
        variables["PYTHONPATH"] = os.pathsep.join(filter(None, (home, variables.get("PYTHONPATH"))))
        if threads := variables.get("XPCNN_THREADS"):
            variables |= dict.fromkeys(BLAS_THREADS, threads)
        self.process = subprocess.Popen(
            [sys.executable, "-P", *program], env=variables,  # -P: import nothing from the present folder
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8",
        )  # fmt: skip

    def ask(self, do: str, **arguments: Any) -> Any:
        """Let the worker do something, and wait for its answer.

        Raises
        ------
        XpcnnError
            The worker's own, of the same kind.
        BenchmarkError
            If it has ended, for lack of memory for instance.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise BenchmarkError(
                f"the process that measures {self.name} ended with exit status {self.process.wait()}; if nothing "
                "is said above it lacked memory: pass a smaller batch size"
            )
        reply = json.loads(line)
        if "error" in reply:
            kind: type[XpcnnError] = getattr(errors, reply["kind"])
            raise kind(reply["error"])
        return reply["answer"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.communicate()
