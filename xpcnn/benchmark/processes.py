"""Contenders as processes that stay alive, so that they can be asked in turn.

In one process they could not differ in what is chosen when it starts: kernels, BLAS's threads, who takes memory from
whom. One after another they would meet different hours of a machine that others use as well.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import xpcnn
from xpcnn import errors
from xpcnn.errors import BenchmarkError, XpcnnError

BLAS_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


class Worker:
    """A process that runs `worker.Contender`; ``with Worker("tuned") as worker: worker.ask("peak")``.

    Parameters
    ----------
    name : str
        For messages.
    environment : dict
        Variables that differ from this process's. XPCNN_THREADS holds for BLAS too, which the tuned kernels
        themselves see to and the reference does not.
    """

    def __init__(self, name: str, environment: Mapping[str, str] | None = None) -> None:
        self.name = name
        home = str(Path(xpcnn.__file__).parents[1])  # the same xpcnn there, installed or not
        variables = {**os.environ, **(environment or {})}
        variables["PYTHONPATH"] = os.pathsep.join(filter(None, (home, variables.get("PYTHONPATH"))))
        if threads := variables.get("XPCNN_THREADS"):
            variables |= dict.fromkeys(BLAS_THREADS, threads)
        self.process = subprocess.Popen(
            # -P: nothing of the folder we are in; -u is not needed, each answer is flushed
            [sys.executable, "-P", "-m", "xpcnn.benchmark.worker"], env=variables,
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

    def close(self) -> None:
        """Let the process end: at once, if it is at work."""
        self.process.kill()
        self.process.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
