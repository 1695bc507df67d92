// Mean and variance in one pass: by Welford's method in each thread, then merged over a warp.
//
//     lane          0     1     2     3  ...       {count, mean, squares} of the values that this thread has read
//     distance 16   0+16  1+17  2+18  ...          each lane merges those of the lane `distance` further
//     distance 8    ...                            after distance 1 lane 0 has the moments of the warp
//
// The variance of values around 10^6 with a spread of 1 has no correct digit in float as mean(x^2) - mean(x)^2. Here the sum
// of (x - mean)^2 grows while the mean moves. Welford, Technometrics 4, 1962; the merge: Chan, Golub and LeVeque, 1979.
#pragma once
#include "sum.cuh"
#include "warp.cuh"

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

__device__ __forceinline__ Moments moments_of(RunningMoments running) {
    return {running.count, value_of(running.mean), value_of(running.squares)};
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
