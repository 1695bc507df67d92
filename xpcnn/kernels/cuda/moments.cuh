// Mean and variance in one pass: by Welford's method in each thread, then merged over a warp and over a block.
//
//     thread     every 256th value  ->  {count, mean, squares}
//     warp       16, 8, 4, 2, 1 lanes further: merge two and two; lane 0 has the warp's
//     block      partial[0] ... partial[7]: the first warp merges these; thread 0 has the block's
//
// The variance of values around 10^6 with a spread of 1 has no correct digit in float as mean(x^2) - mean(x)^2. Here the sum
// of (x - mean)^2 grows while the mean moves. Welford, Technometrics 4, 1962; the merge: Chan, Golub and LeVeque, 1979.
#pragma once
#include "reduce.cuh"
#include "sum.cuh"

struct Moments {
    real count, mean, squares;  // squares: the sum of (x - mean)^2
};

// Values one at a time; mean and squares are compensated sums.
struct RunningMoments {
    real count;
    Sum mean, squares;
};

__device__ __forceinline__ void take_in(RunningMoments& moments, real value) {
    const real delta = (value - moments.mean.total) - moments.mean.lost;
    moments.count += 1;
    moments.mean = add_to(moments.mean, delta / moments.count);
    moments.squares = add_to(moments.squares, delta * ((value - moments.mean.total) - moments.mean.lost));
}

__device__ Moments merge(Moments a, Moments b) {
    const real count = a.count + b.count;
    if (count == 0) return a;
    const real delta = b.mean - a.mean, share = b.count / count;
    return {count, a.mean + delta * share, a.squares + b.squares + delta * delta * a.count * share};
}

// Lane 0 gets the moments of its whole warp.
__device__ Moments warp_moments(Moments mine) {
    for (int distance = 16; distance > 0; distance /= 2) {
        const Moments other = {
            __shfl_down_sync(ALL_LANES, mine.count, distance),
            __shfl_down_sync(ALL_LANES, mine.mean, distance),
            __shfl_down_sync(ALL_LANES, mine.squares, distance),
        };
        mine = merge(mine, other);
    }
    return mine;
}

// Lane 0 of every warp gets the moments of the whole block. As with block_sum, the caller puts a __syncthreads() between two
// calls.
__device__ Moments block_moments(RunningMoments running) {
    __shared__ Moments partial[32];  // one a warp
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    const Moments mine = warp_moments({running.count, value_of(running.mean), value_of(running.squares)});
    if (lane == 0) partial[warp] = mine;
    __syncthreads();  // the moments of all warps are written
    const Moments none = {0, 0, 0};
    return warp_moments(lane < warps ? partial[lane] : none);
}
