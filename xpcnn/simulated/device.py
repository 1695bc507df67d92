"""What a program finds in `cupy.cuda`: a stream to wait for, and no GPU."""

from types import ModuleType, SimpleNamespace
from typing import Any

from xpcnn.simulated import judge
from xpcnn.simulated.events import emit


class Stream:
    """The one stream; what was launched has happened by the time that `synchronize` is called."""

    ptr = 0

    def synchronize(self) -> None:
        """Wait, and be counted."""
        emit("synchronisation", "synchronize()")

    def __repr__(self) -> str:
        return "<stream of the simulated device>"


STREAM = Stream()
RUNTIME = SimpleNamespace(getDeviceCount=lambda: 0, deviceSynchronize=STREAM.synchronize)
KNOWN: dict[str, Any] = {"get_current_stream": lambda: STREAM, "runtime": RUNTIME}


class DeviceModule(ModuleType):
    """Stands in for `cupy.cuda`."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        judge.real(f"cuda.{name}")
        if name not in KNOWN:
            raise AttributeError(f"cupy.cuda.{name} exists, but the simulated device lacks it")
        return KNOWN[name]


stand_in = DeviceModule("simulated.cuda")
