// Sums over a warp and over a block, the same in every run: no atomics, a fixed tree.
#pragma once
#include "numbers.cuh"

const unsigned ALL_LANES = 0xffffffffu;

// Every lane gets the sum over its warp's 32 lanes: after the step of `distance` each holds a sum of 2 distance.
__device__ real warp_sum(real value) {
    for (int distance = 1; distance < 32; distance *= 2) value += __shfl_xor_sync(ALL_LANES, value, distance);
    return value;
}

__device__ real warp_max(real value) {
    for (int distance = 1; distance < 32; distance *= 2)
        value = fmax(value, __shfl_xor_sync(ALL_LANES, value, distance));
    return value;
}

// Every thread gets the sum over its block, whose size is a multiple of 32. Between two of them the caller puts a
// __syncthreads(), or a fast warp overwrites what a slow one has still to read.
__device__ real block_sum(real value) {
    __shared__ real partial[32];  // one a warp: a block has 1024 threads at most
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    value = warp_sum(value);
    if (lane == 0) partial[warp] = value;
    __syncthreads();  // all partial sums are there
    return warp_sum(lane < warps ? partial[lane] : 0);
}
