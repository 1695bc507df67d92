"""Arrays of more than 2^31 elements, by the arithmetic of positions alone: nobody has the memory to run them."""

from types import SimpleNamespace

import numpy as np
import pytest
from cuda_examples import host_module

from xpcnn.errors import KernelError
from xpcnn.kernels.cuda import source
from xpcnn.kernels.cuda.launch import WIDE, Device, macros
from xpcnn.simulated.cuda import RawModule

pytestmark = pytest.mark.usefixtures("compiler")

PROBE = """
extern "C" __global__ void pixels(const long long* v, long long* found) {
    found[0] = pixel_at(v[0], v[1], v[2], v[3], v[4], v[5], v[6]);
}
extern "C" __global__ void columns(const long long* v, long long* found) {
    found[0] = column_at(v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[8], v[9], v[10]);
}
extern "C" __global__ void threads(const long long* v, long long* found) {
    blockIdx.x = v[0], blockDim.x = v[1], threadIdx.x = v[2], gridDim.x = v[3];
    found[0] = first_element();
    found[1] = element_step();
}
"""


def probe(name, *values, index=64):
    module = RawModule(code=source.text("geometry.cuh") + PROBE, options=macros(index=index))
    found = np.zeros(2, np.int64)
    module.get_function(name)((1,), (1,), (np.array(values, np.int64), found))
    return [int(number) for number in found]


IMAGES = (4096, 256, 64, 64)  # 2^32 pixels
COLUMNS = (64, 5, 5, 4096, 48, 48)  # 1.5 * 10^10 elements


def test_the_last_pixel():
    last, lengths = [length - 1 for length in IMAGES], IMAGES[1:]
    assert probe("pixels", *last, *lengths)[0] == 2**32 - 1
    with pytest.raises(KernelError, match=r"overflow: .* 'int', in .* geometry\.cuh:\d+"):
        probe("pixels", *last, *lengths, index=32)  # so 64 bits are what does it


def test_the_last_column():
    last, lengths = [length - 1 for length in COLUMNS], COLUMNS[1:]
    assert probe("columns", *last, *lengths)[0] == np.prod(COLUMNS, dtype=np.int64) - 1
    with pytest.raises(KernelError, match=r"overflow: .* 'int', in .* geometry\.cuh:\d+"):
        probe("columns", *last, *lengths, index=32)


def test_the_last_thread_of_a_grid():
    blocks = 2**32 // 256
    assert probe("threads", blocks - 1, 256, 255, blocks) == [2**32 - 1, 2**32]


def types(threads, *sizes):
    signature = source.signatures()["relu"]
    arrays = [SimpleNamespace(size=size, dtype=np.dtype(np.float32)) for size in sizes]
    arguments = dict(zip(("x", "y"), arrays, strict=True))
    return str(Device(host_module)._types(signature, arguments, threads)["index_t"])


def test_the_launcher_takes_64_bits_before_32_overflow():
    assert types(100, 100, 100) == "int32"
    assert types(WIDE - 1, WIDE - 1, WIDE - 1) == "int32"
    assert types(WIDE, WIDE, WIDE) == types(100, 100, 2**33) == types(2**32, 100, 100) == "int64"
    step = -(-(WIDE - 1) // 256) * 256  # the widest step of a grid that has 32 bits
    assert WIDE - 1 + step < 2**31


def test_64_bits_compute_the_same(monkeypatch):
    from cuda_examples import check

    monkeypatch.setattr("xpcnn.kernels.cuda.launch.WIDE", 1)
    check({"im2col", "col2im", "max_pool_backward"})
