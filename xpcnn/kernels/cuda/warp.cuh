// Sums over the 32 lanes of a warp, by shuffles. They are the same in every run: a fixed tree.
//
//     lane        0     1     2     3   ...
//                 a     b     c     d
//     distance 1  ab    ab    cd    cd           each lane adds the value of the lane with the number lane ^ distance
//     distance 2  abcd  abcd  abcd  abcd
//     ...
#pragma once
#include "numbers.cuh"

const unsigned ALL_LANES = 0xffffffffu;

// Every lane gets the sum over its warp. After the step of `distance` each lane holds a sum of 2 distance values.
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
