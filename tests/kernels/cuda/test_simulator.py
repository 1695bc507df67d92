"""The simulated device finds planted faults, and says which."""

import numpy as np
import pytest

from xpcnn.errors import BackendError, KernelError
from xpcnn.simulated.cuda import RawModule, every_schedule

pytestmark = pytest.mark.usefixtures("compiler")


def kernel(body, parameters="float* x", before="", options=()):
    code = f'{before}\nextern "C" __global__ void k({parameters}) {{\n{body}\n}}\n'
    return RawModule(code=code, options=options).get_function("k")


def launch(body, size=64, block=64, **kwargs):
    x = np.zeros(size, np.float32)
    with every_schedule():
        kernel(body)((1,), (block,), (x,), **kwargs)
    return x


# ---------------------------------------------------------------- what runs, and gives what it gives on a GPU


def test_a_thread_an_element_in_a_grid_of_three_axes():
    where = np.zeros((2, 3, 4, 2, 2, 2), np.int32)
    body = """
    const int block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    const int thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    x[block * 8 + thread] = block * 8 + thread;"""
    with every_schedule():
        kernel(body, "int* x")((4, 3, 2), (2, 2, 2), (where,))
    assert np.array_equal(where.ravel(), np.arange(where.size))


@pytest.mark.parametrize(
    ("shuffle", "wanted"),
    [
        ("__shfl_xor_sync(~0u, lane, 5)", [lane ^ 5 for lane in range(32)]),
        ("__shfl_down_sync(~0u, lane, 3)", [lane if lane > 28 else lane + 3 for lane in range(32)]),
        ("__shfl_up_sync(~0u, lane, 3)", [lane if lane < 3 else lane - 3 for lane in range(32)]),
        ("__shfl_sync(~0u, lane, 7)", [7] * 32),
    ],
)
def test_shuffles(shuffle, wanted):
    x = launch(
        f"const float lane = threadIdx.x % 32; x[threadIdx.x] = {shuffle};".replace(
            "const float", "const int"
        )
    )
    assert list(x) == wanted * 2


def test_shared_memory_static_and_dynamic():
    reverse = (
        "{0} s[threadIdx.x] = threadIdx.x; __syncthreads(); x[threadIdx.x] = s[blockDim.x - 1 - threadIdx.x];"
    )
    assert list(launch(reverse.format("__shared__ float s[64];"))) == list(range(63, -1, -1))
    assert list(launch(reverse.format("extern __shared__ float s[];"), shared_mem=256)) == list(
        range(63, -1, -1)
    )


def test_a_barrier_in_a_function_that_a_kernel_calls():
    before = """
    __device__ float wait_and(float value) { __syncthreads(); return value; }
    __device__ float by_way_of(float value) { return wait_and(value); }"""
    x = np.zeros(64, np.float32)
    body = "__shared__ float s; if (threadIdx.x == 63) s = 2; x[threadIdx.x] = by_way_of(1) + s;"
    with every_schedule():
        kernel(body, before=before)((1,), (64,), (x,))
    assert list(x) == [3] * 64


def test_options_define_macros():
    x = np.zeros(1, np.float32)
    kernel("x[0] = NUMBER;", options=("-std=c++17", "-DNUMBER=7"))((1,), (1,), (x,))
    assert x[0] == 7


def test_half_precision_rounds_as_numpys():
    """Every float16 there is, to float and back, and the floats halfway between two of them."""
    every = np.arange(2**16, dtype=np.uint16).view(np.float16)
    wide, back = np.zeros(2**16, np.float32), np.zeros(2**16, np.float16)
    before = "#include <cuda_fp16.h>"
    body = "const int i = blockIdx.x * blockDim.x + threadIdx.x; y[i] = (float)x[i];"
    kernel(body, "const __half* x, float* y", before)((256,), (256,), (every, wide))
    assert np.array_equal(wide, every.astype(np.float32), equal_nan=True)
    with np.errstate(all="ignore"):
        between = np.concatenate(
            [wide, wide * np.float32(1 + 2**-11), np.nextafter(wide, np.float32(0)) + wide / 4096]
        )
    between = np.resize(between, 3 * 2**16)
    back = np.zeros(between.size, np.float16)
    body = "const int i = blockIdx.x * blockDim.x + threadIdx.x; y[i] = (__half)x[i];"
    kernel(body, "const float* x, __half* y", before)((768,), (256,), (between, back))
    with np.errstate(all="ignore"):
        assert np.array_equal(back, between.astype(np.float16), equal_nan=True)


# ---------------------------------------------------------------- faults that running shows


UNWRITTEN = "no thread wrote"


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("__shared__ float s[64]; s[threadIdx.x] = threadIdx.x; x[threadIdx.x] = s[63 - threadIdx.x];", UNWRITTEN),
        ("x[threadIdx.x / 2] = threadIdx.x;", "race"),  # two threads, one element, no barrier in sight
        ("if (threadIdx.x == 0) x[0] = 1; x[1 + threadIdx.x % 63] = x[0];", "race"),
        ("__shared__ float s[64]; s[0] = 1; __syncthreads(); x[threadIdx.x] = s[threadIdx.x];", UNWRITTEN),
        ("__shared__ float s[9]; s[0] = 1; __syncthreads(); if (threadIdx.x == 8) x[0] = fmaxf(s[8], 0);", UNWRITTEN),
        ("if (threadIdx.x < 16) __syncthreads(); x[0] = 1;", "have returned"),
        ("if (threadIdx.x < 16)\\n__syncthreads();\\nelse\\n__syncthreads(); x[0] = 1;", "different __syncthreads"),
        ("if (threadIdx.x < 16) x[0] = __shfl_xor_sync(~0u, 1.f, 1); else __syncthreads();", "divergent warp"),
        ("if (threadIdx.x < 16) return; x[0] = __shfl_xor_sync(~0u, 1.f, 1);", "some lanes have returned"),
    ],
)  # fmt: skip
def test_a_fault_is_found(body, complaint):
    with pytest.raises(KernelError, match=f"^k: .*{complaint}"):
        launch(body.replace("\\n", "\n"))


def test_dynamic_shared_memory_that_nobody_wrote():
    body = "extern __shared__ float s[]; s[0] = 1; __syncthreads(); x[threadIdx.x] = s[threadIdx.x];"
    with pytest.raises(KernelError, match=UNWRITTEN):
        launch(body, shared_mem=256)


def test_a_race_between_blocks():
    x = np.zeros(1, np.float32)
    with every_schedule(), pytest.raises(KernelError, match="race"):
        kernel("x[0] = blockIdx.x;")((7,), (1,), (x,))


def test_a_warp_gets_ahead_of_another_as_far_as_the_barriers_let_it():
    """The second sum overwrites what slow warps of the first have still to read: in lock-step it would not show."""
    body = """
    __shared__ float s[2];
    float sum = 0;
    for (int round = 0; round < 2; ++round) {
        if (threadIdx.x % 32 == 0) s[threadIdx.x / 32] = round + 1;
        __syncthreads();
        sum += s[0] + s[1];
    }
    x[threadIdx.x] = sum;"""
    with pytest.raises(KernelError, match="race"):
        launch(body)
    assert (
        list(launch(body.replace("sum += s[0] + s[1];", "sum += s[0] + s[1]; __syncthreads();"))) == [6] * 64
    )


def test_the_complaint_names_file_and_line():
    with pytest.raises(KernelError, match=r"at kernel\.cu:4$"):
        launch("\nif (threadIdx.x < 16) __syncthreads();")


# ---------------------------------------------------------------- faults of the launch


X = np.zeros(64, np.float32)
FROZEN = np.zeros(64, np.float32)
FROZEN.flags.writeable = False


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((X,), "expected 3 arguments, got 1"),
        ((X, np.float32(1), np.int32(1), np.int32(1)), "expected 3 arguments, got 4"),
        ((X.astype(np.float64), np.float32(1), np.int32(1)), "argument 0: expected float32, got float64"),
        ((X.reshape(8, 8).T, np.float32(1), np.int32(1)), "argument 0: .*strides"),
        ((X[::2], np.float32(1), np.int32(1)), "argument 0: .*strides"),
        ((FROZEN, np.float32(1), np.int32(1)), "argument 0: .*read-only"),
        ((1.0, np.float32(1), np.int32(1)), "argument 0: expected an array, got float"),
        ((X, 1.0, np.int32(1)), r"argument 1: expected np.float32, got float.*pass np.float32\(...\)"),
        ((X, np.float64(1), np.int32(1)), "argument 1: expected np.float32"),
        ((X, np.int32(1), np.int32(1)), "argument 1: expected np.float32"),
        ((X, np.float32(1), 1), "argument 2: expected np.int32, got int"),
        ((X, np.float32(1), np.int64(1)), "argument 2: expected np.int32"),
        ((X, np.float32(1), X), "argument 2: expected np.int32, got ndarray"),
    ],
)  # fmt: skip
def test_wrong_arguments(arguments, complaint):
    with pytest.raises(KernelError, match=f"^k: {complaint}"):
        kernel("x[0] = a + n;", "float* x, float a, int n")((1,), (1,), arguments)


@pytest.mark.parametrize(
    ("grid", "block", "shared_mem", "complaint"),
    [
        ((1,), (1025,), 0, "1 to 1024 threads"),
        ((1,), (32, 64), 0, "1 to 1024 threads"),
        ((1,), (1, 1, 65), 0, "1 to 1024 threads"),
        ((1,), (0,), 0, "1 to 1024 threads"),
        ((0,), (1,), 0, "1 to .* blocks"),
        ((1, 65536), (1,), 0, "1 to .* blocks"),
        ((2**31,), (1,), 0, "1 to .* blocks"),
        ((1,), (1,), 49153, "49152 bytes of shared memory"),
    ],
)
def test_wrong_sizes(grid, block, shared_mem, complaint):
    with pytest.raises(KernelError, match=f"^k: .*{complaint}"):
        kernel("x[0] = 1;")(grid, block, (np.zeros(1, np.float32),), shared_mem=shared_mem)


def test_a_text_that_does_not_compile_and_a_kernel_that_is_not_there():
    with pytest.raises(KernelError, match="no_such_function"):
        kernel("x[0] = no_such_function(1);")
    with pytest.raises(BackendError, match=r"^other: no such kernel.*\bk\b"):
        RawModule(code='extern "C" __global__ void k(float* x) {}').get_function("other")
    with pytest.raises(KernelError, match="`code`"):
        RawModule(path="kernels.cubin")
