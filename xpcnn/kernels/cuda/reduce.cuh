// Sums over the threads of a block, the same in every run: no atomics, a fixed order.
//
//     warp           0   1  ...  7         each sums its 32 lanes
//                    |   |       |
//     partial       [0] [1] ... [7]        in shared memory: lane 0 of each warp writes one number
//                     \   |      /
//     every warp sums these                so every thread has the result
#pragma once
#include "warp.cuh"

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
