// Batch normalisation over images (N, C, P), with P pixels each. A channel's statistics and sums are `real`: for half
// they may be more than half can hold.
#include "reduce.cuh"
#include "sum.cuh"

// Mean and variance in one pass that does not cancel: sum of (x - mean)^2 grows with the mean as it moves. Subtracting
// mean(x)^2 from mean(x^2) would lose every digit where the mean is large beside the spread. Welford, Technometrics 4,
// 1962; two parts are merged as Chan, Golub and LeVeque have it, 1979.
struct Moments {
    real count, mean, squares;  // squares: the sum of (x - mean)^2
};

__device__ Moments merge(Moments a, Moments b) {
    const real count = a.count + b.count;
    if (count == 0) return a;
    const real delta = b.mean - a.mean, share = b.count / count;
    return {count, a.mean + delta * share, a.squares + b.squares + delta * delta * a.count * share};
}

// Lane 0 gets the whole warp's.
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

// A block takes a channel.
extern "C" __global__ void __launch_bounds__(256, 1) batch_statistics(
    const storage* __restrict__ x,   // (N, C, P)
    real* __restrict__ mean,         // (C)
    real* __restrict__ variance,     // (C)
    index_t N, index_t C, index_t P) {
    __shared__ Moments partial[32];  // one a warp
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    const index_t c = blockIdx.x;
    real count = 0;
    Sum moving = {0, 0}, squares = {0, 0};
    for (index_t m = threadIdx.x; m < N * P; m += blockDim.x) {
        const real value = (real)x[(m / P * C + c) * P + m % P];
        const real delta = (value - moving.total) - moving.rest;
        count += 1;
        moving = add_to(moving, delta / count);
        squares = add_to(squares, delta * ((value - moving.total) - moving.rest));
    }
    Moments mine = warp_moments({count, value_of(moving), value_of(squares)});
    if (lane == 0) partial[warp] = mine;
    __syncthreads();  // all warps' moments are there
    if (warp != 0) return;
    const Moments none = {0, 0, 0};
    mine = warp_moments(lane < warps ? partial[lane] : none);
    if (lane == 0) {
        mean[c] = mine.mean;
        variance[c] = mine.squares / mine.count;
    }
}

// A thread normalises one element.
extern "C" __global__ void __launch_bounds__(256, 1) batch_norm(
    const storage* __restrict__ x,         // (N, C, P)
    const storage* __restrict__ weight,    // (C)
    const storage* __restrict__ bias,      // (C)
    const real* __restrict__ mean,         // (C)
    const real* __restrict__ variance,     // (C)
    storage* __restrict__ y,               // (N, C, P)
    real eps, index_t N, index_t C, index_t P) {
    for (index_t element = first_element(); element < N * C * P; element += element_step()) {
        const index_t c = element / P % C;
        const real scale = (real)weight[c] / sqrt(variance[c] + eps);
        y[element] = (storage)(((real)x[element] - mean[c]) * scale + (real)bias[c]);
    }
}

// A block takes a channel: the sum of dy, and of dy xhat.
extern "C" __global__ void __launch_bounds__(256, 1) batch_norm_sums(
    const storage* __restrict__ dy,        // (N, C, P)
    const storage* __restrict__ x,         // (N, C, P)
    const real* __restrict__ mean,         // (C)
    const real* __restrict__ variance,     // (C)
    real* __restrict__ dweight,            // (C)
    real* __restrict__ dbias,              // (C)
    real eps, index_t N, index_t C, index_t P) {
    const index_t c = blockIdx.x;
    const real center = mean[c], inverse = 1 / sqrt(variance[c] + eps);
    Sum of_dy = {0, 0}, of_product = {0, 0};
    for (index_t m = threadIdx.x; m < N * P; m += blockDim.x) {
        const index_t element = (m / P * C + c) * P + m % P;
        of_dy = add_to(of_dy, (real)dy[element]);
        of_product = add_to(of_product, (real)dy[element] * (((real)x[element] - center) * inverse));
    }
    const real total = block_sum(value_of(of_dy));
    __syncthreads();  // all have read its partial sums: the next may write
    const real product = block_sum(value_of(of_product));
    if (threadIdx.x == 0) {
        dbias[c] = total;
        dweight[c] = product;
    }
}

// A thread makes one element of dx; `per_value` is 1 / (N P), or 0 where mean and variance were constants.
extern "C" __global__ void __launch_bounds__(256, 1) batch_norm_dx(
    const storage* __restrict__ dy,        // (N, C, P)
    const storage* __restrict__ x,         // (N, C, P)
    const storage* __restrict__ weight,    // (C)
    const real* __restrict__ mean,         // (C)
    const real* __restrict__ variance,     // (C)
    const real* __restrict__ dweight,      // (C)
    const real* __restrict__ dbias,        // (C)
    storage* __restrict__ dx,              // (N, C, P)
    real eps, real per_value, index_t N, index_t C, index_t P) {
    for (index_t element = first_element(); element < N * C * P; element += element_step()) {
        const index_t c = element / P % C;
        const real inverse = 1 / sqrt(variance[c] + eps);
        const real normalized = ((real)x[element] - mean[c]) * inverse;
        const real drift = (dbias[c] + normalized * dweight[c]) * per_value;
        dx[element] = (storage)(((real)dy[element] - drift) * ((real)weight[c] * inverse));
    }
}
