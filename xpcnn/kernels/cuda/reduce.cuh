// Sums over the threads of a warp and of a block. They are the same in every run: no atomics, a fixed tree.
//
//     warp_sum, by shuffles            block_sum, through shared memory
//
//     lane   0   1   2   3  ...        warp      0   1  ...  7        each sums its 32 lanes
//            a   b   c   d                       |   |       |
//     1      ab  ab  cd  cd            partial  [0] [1] ... [7]       lane 0 of each warp writes one number
//     2      abcd in all four                    \   |       /
//     ...                              every warp sums these          so every thread has the result
#pragma once
#include "numbers.cuh"

const unsigned ALL_LANES = 0xffffffffu;

// Every lane gets the sum over the 32 lanes of its warp. After the step of `distance` each lane holds a sum of 2 distance.
__device__ real warp_sum(real value) {
    for (int distance = 1; distance < 32; distance *= 2) value += __shfl_xor_sync(ALL_LANES, value, distance);
    return value;
}

// Every lane gets the largest value of its warp.
__device__ real warp_max(real value) {
    for (int distance = 1; distance < 32; distance *= 2)
        value = fmax(value, __shfl_xor_sync(ALL_LANES, value, distance));
    return value;
}

// Every thread gets the sum over its block, whose size is a multiple of 32. Between two calls the caller puts a
// __syncthreads(): otherwise a fast warp overwrites what a slow one has not read yet.
__device__ real block_sum(real value) {
    __shared__ real partial[32];  // one a warp: a block has 1024 threads at most
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    value = warp_sum(value);
    if (lane == 0) partial[warp] = value;
    __syncthreads();  // all partial sums are written
    return warp_sum(lane < warps ? partial[lane] : 0);
}
