"""What the simulated device sees of every access: small wrong kernels are reported, right ones that look alike run."""

import numpy as np
import pytest

from xpcnn.errors import KernelError
from xpcnn.simulated.cuda import RawModule, ends_of_grids, every_schedule

pytestmark = pytest.mark.usefixtures("compiler")


def run(body, *arrays, grid=1, block=64, before="", parameters="float* x, int n", size=64, **kwargs):
    """Run a kernel once, in the forward schedule alone: what is found does not depend on a second run."""
    arrays = arrays or (np.zeros(size, np.float32),)
    code = f'{before}\nextern "C" __global__ void k({parameters}) {{\n{body}\n}}\n'
    RawModule(code=code).get_function("k")((grid,), (block,), (*arrays, np.int32(arrays[0].size)), **kwargs)
    return arrays[0]


T = "const int t = threadIdx.x; "
SHARED = "__shared__ float s[64]; "


# ---------------------------------------------------------------- races


@pytest.mark.parametrize(
    ("body", "options", "complaint"),
    [
        ("x[0] = x[0] + 1;", {"block": 1024}, r"thread 1 of block 0 reads x\[0\] at kernel.cu:3, and thread 0 wrote"),
        ("x[0] += 1;", {"block": 2}, r"reads x\[0\]"),
        ("x[0] = x[0] + 1;", {"block": 1, "grid": 9}, "thread 0 of another block wrote it.*blocks of one launch"),
        ("__syncthreads(); x[n - 1] += 1;", {"block": 1024}, r"reads x\[63\]"),
        (SHARED + T + "if (t == 0) s[0] = 0; __syncthreads(); s[0] = s[0] + 1; x[t] = t;", {}, r"reads shared s\[0\]"),
        (SHARED + T + "s[t] = t; x[t] = s[t ^ 1];", {}, "no thread wrote|a race"),
        (SHARED + T + "s[t] = t; __syncthreads(); s[t ^ 32] = x[t] + s[t];", {}, r"a race: .* shared s\["),
        (SHARED + T + "s[t] = t; __shfl_xor_sync(~0u, t, 1); x[t] = s[t ^ 1];", {}, r"reads shared s\[1\]"),
        (SHARED + T + "s[t] = t; __syncwarp(); x[t] = s[t ^ 32];", {}, "no thread wrote|a race"),
        (T + "x[t / 2] = t;", {}, r"writes another value to x\[0\]"),
        (T + "float a = x[(t + 1) % 64]; x[t] = a + t;", {}, r"writes x\[1\] at kernel.cu:3, and thread 0 read it"),
        ("atomicAdd(x, 1.f); if (threadIdx.x == 5) x[1] = x[0];", {}, r"and thread \d+ changed it"),
        ("if (threadIdx.x == 5) x[0] = 1; atomicAdd(x, 1.f);", {}, r"changes x\[0\].*thread 5 wrote|writes x\[0\]"),
        ("*(double*)x = *(double*)x + threadIdx.x;", {}, r"a race: .* x\[0\]"),
        ("*((char*)x + 1) = threadIdx.x;", {}, r"writes another value to x\[0\]"),
        ("total += 1; x[threadIdx.x] = total;", {"before": "__device__ int total = 0;"}, "a __device__ variable"),
    ],
)  # fmt: skip
def test_a_race(body, options, complaint):
    with pytest.raises(KernelError, match=f"^k: .*{complaint}"):
        run(body, **options)


@pytest.mark.parametrize(
    "body",
    [
        T + "x[t] = x[t] + 1; __syncthreads(); x[63 - t] = x[63 - t] + 1;",
        SHARED + T + "s[t] = t; __syncthreads(); x[t] = s[t ^ 32];",
        SHARED + T + "s[t] = t; __syncwarp(); x[t] = s[t ^ 1];",
        SHARED + T + "s[t] = t; if (t % 32 < 16) { __syncwarp(0xffff); x[t] = s[t ^ 1]; } else { x[t] = s[t]; }",
        "atomicAdd(x, 1.f); atomicMax(x + 1, (float)threadIdx.x);",
        "atomicAdd(x, 1.f); __syncthreads(); x[1 + threadIdx.x % 63] = x[0];",
        "x[0] = 1;",  # all write the same value: one of them is stored, as CUDA's guide says
        "x[0] = 1; __syncthreads(); x[1 + threadIdx.x % 63] = x[0];",
        "*((char*)x + threadIdx.x) = threadIdx.x;",  # neighbours in one float
        T + "float4 a = ((float4*)x)[t / 4]; __syncthreads(); x[t] = a.x;",
    ],
)  # fmt: skip
def test_no_race(body):
    with every_schedule():
        run(body)


def test_half_a_warp_orders_its_own_memory_only():
    body = SHARED + T + "s[t] = t; if (t < 16) { __syncwarp(0xffff); x[t] = s[t + 16]; }"
    with pytest.raises(KernelError, match=r"shared s\[16\] .*no thread wrote|a race"):
        run(body, block=32)


def test_a_view_written_while_another_that_overlaps_is_read():
    whole = np.zeros(65, np.float32)
    body = T + "x[t] = y[t] + 1;"
    with pytest.raises(KernelError, match=r"a race: .*(y or x|x or y)"):
        run(body, whole[1:], whole[:-1], parameters="float* x, const float* y, int n")
    whole[:] = 0
    run(body, whole[1:], whole[1:], parameters="float* x, const float* y, int n")
    assert list(whole) == [0] + [1] * 64


# ---------------------------------------------------------------- bounds


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("x[threadIdx.x + 1] = 1;", r"thread 63 of block 0 writes x\[64\] at kernel.cu:3; it has 64 elements"),
        ("x[threadIdx.x] = x[(int)threadIdx.x - 1];", r"thread 0 of block 0 reads x\[-1\]"),
        ("x[10000000] = 1;", r"writes far from every array; the nearest is that of .*\[\d+\]"),
        (SHARED + "s[threadIdx.x + 1] = 1;", r"element 64 of 'float \[64\]', in thread 63 of block 0 at kernel.cu:3"),
        (SHARED + "float* p = s; p[threadIdx.x + 1] = 1;", r"writes shared s\[64\] at kernel.cu:3; it has 64 elements"),
        ("__shared__ float a[4], b[4]; float* p = b - 1; p[threadIdx.x % 4] = 1;", r"shared b\[-1\]"),
        ("__shared__ float s[4][8]; s[0][threadIdx.x % 9] = 1;", r"element 8 of 'float \[8\]'"),
        ("float own[4]; for (int i = 0; i <= n / 16; ++i) own[i] = i; x[threadIdx.x] = own[n % 4];", "element 4 of"),
        ("extern __shared__ float s[]; s[threadIdx.x] = 1;", r"writes shared s\[16\] .*it has 16 elements"),
    ],
)  # fmt: skip
def test_out_of_bounds(body, complaint):
    with pytest.raises(KernelError, match=f"^k: out of bounds: .*{complaint}"):
        run(body, shared_mem=64)


def test_a_neighbour_in_one_buffer_is_another_array():
    buffer = np.zeros(128, np.float32)
    run("x[threadIdx.x] = 1;", buffer[:64])
    with pytest.raises(KernelError, match=r"writes x\[64\]"):
        run("x[threadIdx.x + 1] = 1;", buffer[:64], buffer[64:], parameters="float* x, float* y, int n")
    assert not buffer[64:].any()


def test_what_is_const_is_not_written_to():
    with pytest.raises(KernelError, match=r"writes x\[0\] at kernel.cu:3, which its parameter says is const"):
        run("((float*)x)[0] = 1;", parameters="const float* x, int n")


def test_shared_memory_that_no_thread_wrote_is_named():
    with pytest.raises(
        KernelError, match=r"thread 3 of block 0 reads shared s\[3\] at kernel.cu:3, which no thread wrote"
    ):
        run(SHARED + T + "if (t < 3) s[t] = t; x[t] = s[t];")


# ---------------------------------------------------------------- shared memory


@pytest.mark.parametrize(
    ("body", "shared_mem"),
    [
        ("__shared__ float s[12289]; s[0] = 1;", 0),
        ("__shared__ float a[6144], b[6145]; a[0] = 1;", 0),
        (SHARED + "s[0] = 1;", 48 * 1024 - 255),
    ],
)
def test_more_shared_memory_than_a_block_has(body, shared_mem):
    with pytest.raises(
        KernelError, match=r"bytes of shared memory, and a block has 49152 at most: \w is the last"
    ):
        run(body, shared_mem=shared_mem)


def test_as_much_shared_memory_as_a_block_has():
    run("__shared__ float a[6144], b[6144]; a[0] = 1; b[0] = 2;")
    run(SHARED + "s[0] = 1;", shared_mem=48 * 1024 - 256)


def test_two_launches_and_two_blocks_share_nothing():
    body = SHARED + T + "if (blockIdx.x == 0) s[t] = 1; __syncthreads(); x[t] = s[t];"
    run(body)
    with pytest.raises(KernelError, match=r"thread 0 of block 1 reads shared .*no thread wrote"):
        run(body, grid=2)


@pytest.mark.parametrize("declared", ["__shared__ float s[64];", "extern __shared__ float s[];"])
def test_shared_memory_outside_all_functions_is_refused(declared):
    with pytest.raises(KernelError, match="declare it in the kernel"):
        run("s[0] = 1;", before=declared)


def test_shared_variables_of_every_form():
    body = """
    __shared__ __align__(16) float a[8][4];  // __shared__ is what this comment is about
    __shared__ Pair b[2], c;
    volatile __shared__ int d;
    static __shared__ double e;
    const int t = threadIdx.x;
    if (t == 0) a[7][3] = 1, b[1].second = 2, c.first = 3, d = 4, e = 5;
    __syncthreads();
    x[t] = a[7][3] + b[1].second + c.first + d + e;"""
    assert list(run(body, before="struct Pair { float first, second; };")) == [15] * 64


# ---------------------------------------------------------------- alignment


def test_a_vector_at_an_address_that_is_no_multiple_of_its_size():
    body = T + "if (t < 15) ((float4*)x)[t] = make_float4(1, 2, 3, 4);"
    assert list(run(body)[:60]) == [1, 2, 3, 4] * 15
    buffer = np.zeros(65, np.float32)
    with pytest.raises(
        KernelError, match=r"misaligned: .*float4.* no multiple of 16 \(x\[0\]\), .* at kernel.cu:3"
    ):
        run(body, buffer[1:])  # as on a GPU, the view is 4 bytes beyond what was allocated
    run(body, buffer[:64])


def test_shared_memory_is_aligned_as_its_declaration_says_and_no_better():
    body = "__shared__ {} float s[64]; ((float4*)s)[threadIdx.x % 16] = make_float4(1, 2, 3, 4);"
    run(body.replace("{}", "__align__(16)"))
    with pytest.raises(KernelError, match=r"misaligned: .*shared s\["):
        run(body.replace("{}", ""))


# ---------------------------------------------------------------- integers


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (
            "x[0] = (n << 10) * (n << 10);",
            r"overflow: 65536 \* 65536 passes the range of 'int', in thread 0 .*kernel.cu:3",
        ),
        ("int a = 0x7fffffff; x[0] = a + n;", r"overflow: \d+ \+ \d+ passes"),
        ("int a = -0x7fffffff; x[0] = a - n;", "overflow: -2147483647 - 64"),
        ("x[0] = 1 / (n - 64);", "division by zero"),
        ("x[0] = 1 << n;", "a shift by"),
        ("x[0] = (int)(x[1] + 1e10f);", "beyond the range"),
    ],
)
def test_arithmetic_that_a_gpu_gets_wrong_in_silence(body, complaint):
    with pytest.raises(KernelError, match=complaint):
        run(body)


# ---------------------------------------------------------------- masks


@pytest.mark.parametrize(
    ("body", "block", "complaint"),
    [
        ("x[t] = __shfl_xor_sync(0x0000ffff, t, 1);", 32, "thread 16 of block 0 .*__shfl_xor.*0x0000ffff.* lane 16"),
        ("__syncwarp(0x0000ffff); x[t] = 1;", 32, "__syncwarp .* does not name its lane 16, at kernel.cu:3"),
        ("x[t] = __shfl_sync(t < 16 ? 0xffff : ~0u, t, 0);", 32, "divergent warp: "),
        ("if (t < 16) x[t] = __shfl_sync(0xffff, t, 20);", 32, "reads lane 20, which its mask does not name"),
        ("if (t < 16) x[t] = __shfl_sync(0x1ffff, t, 0);", 32, "divergent warp: some lanes have returned"),
        ("x[t] = __shfl_down_sync(~0u, t, 1);", 16, "thread 15 .*reads lane 16, which the block does not have"),
    ],
)  # fmt: skip
def test_a_wrong_mask(body, block, complaint):
    with pytest.raises(KernelError, match=complaint):
        run(T + body, block=block)


def test_half_warps_each_with_its_mask():
    body = (
        T
        + "if (t % 32 < 16) x[t] = __shfl_xor_sync(0x0000ffff, t, 1); else x[t] = __shfl_xor_sync(0xffff0000, t, 2);"
    )
    with every_schedule():
        assert list(run(body)) == [t ^ (1 if t % 32 < 16 else 2) for t in range(64)]


def test_segments_of_a_warp():
    assert list(run(T + "x[t] = __shfl_down_sync(~0u, t, 3, 8);")) == [
        t + 3 if t % 8 < 5 else t for t in range(64)
    ]
    assert list(run(T + "x[t] = __shfl_up_sync(~0u, t, 3, 8);")) == [
        t - 3 if t % 8 > 2 else t for t in range(64)
    ]
    assert list(run(T + "x[t] = __shfl_sync(~0u, t, 9, 8);")) == [t // 8 * 8 + 1 for t in range(64)]


# ---------------------------------------------------------------- half precision, and the ends of a grid


def test_two_halves_make_a_half():
    a = np.array([2048, 1, 1, 0.1], np.float16)
    body = "x[0] = x[0] + x[1] + x[2]; x[3] += x[3]; x[1] = x[3] * x[3] / x[2] - x[2];"
    run(body, a, block=1, before="#include <cuda_fp16.h>", parameters="__half* x, int n")
    b = np.array([2048, 1, 1, 0.1], np.float16)
    b[0], b[3] = b[0] + b[1] + b[2], b[3] + b[3]
    b[1] = b[3] * b[3] / b[2] - b[2]
    assert np.array_equal(a, b)


def test_the_ends_of_a_grid():
    with ends_of_grids(2), every_schedule():
        x = run("x[blockIdx.x] += 1;", block=1, grid=64)
        assert list(x) == [1, 1, *[0] * 60, 1, 1]
        assert list(run("x[blockIdx.x] += 1;", block=1, grid=4, size=4)) == [1] * 4
    assert list(run("x[blockIdx.x] += 1;", block=1, grid=64)) == [1] * 64


def test_after_a_fault_the_next_launch_is_sound():
    for body in ("x[threadIdx.x + 1] = 1;", "__syncthreads(); x[threadIdx.x + 1] = 1;"):
        code = f'extern "C" __global__ void k(float* x, int n) {{ if (n) {{ {body} }} else x[threadIdx.x] += 1; }}'
        kernel, x = RawModule(code=code).get_function("k"), np.zeros(64, np.float32)
        for _ in range(3):
            with pytest.raises(KernelError, match=r"out of bounds|race"):
                kernel((1,), (64,), (x, np.int32(1)))
            x[:] = 0
            kernel((1,), (64,), (x, np.int32(0)))
            assert list(x) == [1] * 64
