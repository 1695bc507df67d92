"""A module in CuPy's place, as far as xpcnn looks before it computes: each thing that CuPy needs can be broken."""

from types import ModuleType, SimpleNamespace

import numpy as np


class DeviceArray:
    """An array in another memory: no NumPy function sees its values."""

    __module__ = "stub.core"
    __array_ufunc__ = None

    def __init__(self, values):
        self.values = np.array(values)

    @property
    def __cuda_array_interface__(self):
        return {"shape": self.values.shape, "typestr": self.values.dtype.str, "version": 3}

    def __array__(self, *args, **kwargs):
        raise TypeError("implicit conversion to NumPy")

    def get(self):
        return self.values.copy()


GIB = 2**30


def stub_cupy(
    *,
    driver=13010,
    runtime=13000,
    is_hip=False,
    devices=1,
    memory=(60 * GIB, 80 * GIB),
    filled=(0, 1, 2, 3),
    product=11.0,
):
    """Return a CuPy on one GPU; an exception in place of a value is raised where CuPy would raise it."""

    def give(value):
        if isinstance(value, Exception):
            raise value
        return value

    class Square:
        def __matmul__(self, other):
            return {(1, 1): give(product)}

    class OnDevice(DeviceArray):
        def reshape(self, *shape):
            assert shape == (2, 2)
            return Square()

    class Device:
        @property
        def mem_info(self):
            return give(memory)

    cupy = ModuleType("cupy")
    cupy.__version__, cupy.float32, cupy.ndarray = "14.2.0", np.float32, DeviceArray
    cupy.arange = lambda size, dtype: OnDevice(np.array(give(filled), dtype))
    cupy.asarray = lambda values: values if isinstance(values, DeviceArray) else DeviceArray(values)
    cupy.asnumpy = DeviceArray.get
    stream = SimpleNamespace(synchronize=lambda: None)
    cupy.cuda = SimpleNamespace(
        Device=Device,
        get_current_stream=lambda: stream,
        runtime=SimpleNamespace(
            is_hip=is_hip,
            driverGetVersion=lambda: give(driver),
            runtimeGetVersion=lambda: give(runtime),
            getDeviceCount=lambda: give(devices),
        ),
    )
    return cupy
