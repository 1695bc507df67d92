"""What a program finds in `cupy.cuda`: streams, events and the runtime's waiting, and no GPU."""

from types import ModuleType, SimpleNamespace
from typing import Any

from xpcnn.simulated import judge, memory
from xpcnn.simulated.streams import Event, Stream, current_stream, host_waits_for_all

RUNTIME = SimpleNamespace(getDeviceCount=lambda: 0, deviceSynchronize=host_waits_for_all)
KNOWN: dict[str, Any] = {
    "Event": Event,
    "Stream": Stream,
    "get_current_stream": current_stream,
    "memory": SimpleNamespace(OutOfMemoryError=memory.OutOfMemoryError),
    "runtime": RUNTIME,
}


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
