// Group and layer normalisation: R rows of L values each, normalised row by row; the batch plays no part.
//
//     group norm   x (N, C, P)   a row is one group of one image, C/G channels of P pixels       R = N G   L = C/G P
//     layer norm   x (N, C)      a row is one sample, and each value has a weight of its own     R = N     L = C    P = 1
//
//     row 0        [ . . . . . . . . . . . . ]   warp 0     element = r L + l, its channel c = element / P % C
//     row 1        [ . . . . . . . . . . . . ]   warp 1
//     ...            |       |       |           lane t reads every 32nd value from t on; then the warp merges by shuffles
//
//     channel c    the same c of every image, wherever it stands: the parameters' gradients sum over these
//
//     sample_norm, sample_norm_backward    a warp is responsible for a row: its statistics first, then every element
//     sample_norm_parameters               `lanes` threads are responsible for a channel: a warp for group norm, whose pixels are
//                                          neighbours, and a thread for layer norm, whose channels are
//
// No thread waits for another warp, so there is no barrier.
#include "moments.cuh"

struct Normalizer {
    real mean, inverse;  // inverse: 1 / sqrt(variance + eps)
};

// Every lane of the warp gets the statistics of row r.
__device__ Normalizer row_statistics(const storage* x, index_t r, index_t L, int lane, real eps) {
    RunningMoments mine = {0, {0, 0}, {0, 0}};
    for (index_t l = lane; l < L; l += 32) take_in(mine, (real)x[r * L + l]);
    const Moments row = warp_moments(moments_of(mine));  // in lane 0
    const real mean = __shfl_sync(ALL_LANES, row.mean, 0), squares = __shfl_sync(ALL_LANES, row.squares, 0);
    return {mean, 1 / sqrt(squares / (real)L + eps)};
}

// y = weight[c] (x - mean) / sqrt(variance + eps) + bias[c]
extern "C" __global__ void __launch_bounds__(256, 1) sample_norm(
    const storage* __restrict__ x,       // (R, L)
    const storage* __restrict__ weight,  // (C)
    const storage* __restrict__ bias,    // (C)
    storage* __restrict__ y,             // (R, L)
    real eps, index_t R, index_t L, index_t C, index_t P) {
    const int lane = threadIdx.x % 32;
    for (index_t r = first_element() / 32; r < R; r += element_step() / 32) {
        const Normalizer row = row_statistics(x, r, L, lane, eps);
        for (index_t l = lane; l < L; l += 32) {
            const index_t element = r * L + l, c = element / P % C;
            y[element] = (storage)(((real)x[element] - row.mean) * row.inverse * (real)weight[c] + (real)bias[c]);
        }
    }
}

// dx = (g - mean g - xhat mean(g xhat)) / sqrt(variance + eps)        g = weight[c] dy        xhat = (x - mean) inverse
// Each lane sums its values of g and g xhat, the warp sums the lanes, and then each lane makes its elements of dx.
extern "C" __global__ void __launch_bounds__(256, 1) sample_norm_backward(
    const storage* __restrict__ dy,      // (R, L)
    const storage* __restrict__ x,       // (R, L)
    const storage* __restrict__ weight,  // (C)
    storage* __restrict__ dx,            // (R, L)
    real* __restrict__ mean,             // (R)
    real* __restrict__ inverse,          // (R)
    real eps, index_t R, index_t L, index_t C, index_t P) {
    const int lane = threadIdx.x % 32;
    for (index_t r = first_element() / 32; r < R; r += element_step() / 32) {
        const Normalizer row = row_statistics(x, r, L, lane, eps);
        Sum of_g = {0, 0}, of_product = {0, 0};
        for (index_t l = lane; l < L; l += 32) {
            const index_t element = r * L + l;
            const real g = (real)dy[element] * (real)weight[element / P % C];
            of_g = add_to(of_g, g);
            of_product = add_to(of_product, g * (((real)x[element] - row.mean) * row.inverse));
        }
        const real mean_g = warp_sum(value_of(of_g)) / (real)L;
        const real mean_product = warp_sum(value_of(of_product)) / (real)L;
        for (index_t l = lane; l < L; l += 32) {
            const index_t element = r * L + l;
            const real g = (real)dy[element] * (real)weight[element / P % C];
            const real normalized = ((real)x[element] - row.mean) * row.inverse;
            dx[element] = (storage)((g - mean_g - normalized * mean_product) * row.inverse);
        }
        if (lane == 0) {
            mean[r] = row.mean;
            inverse[r] = row.inverse;
        }
    }
}

// dweight[c] = sum dy xhat        dbias[c] = sum dy        over the N images and their P pixels of channel c
// `lanes` is 32 or 1. With 32 a warp has one channel, so that all its lanes reach the shuffles.
extern "C" __global__ void __launch_bounds__(256, 1) sample_norm_parameters(
    const storage* __restrict__ dy,      // (N, C, P)
    const storage* __restrict__ x,       // (N, C, P)
    const real* __restrict__ mean,       // (R)
    const real* __restrict__ inverse,    // (R)
    real* __restrict__ dweight,          // (C)
    real* __restrict__ dbias,            // (C)
    int lanes, index_t N, index_t R, index_t L, index_t C, index_t P) {
    const int lane = threadIdx.x % lanes;
    for (index_t c = first_element() / lanes; c < C; c += element_step() / lanes) {
        Sum of_dy = {0, 0}, of_product = {0, 0};
        for (index_t m = lane; m < N * P; m += lanes) {
            const index_t element = (m / P * C + c) * P + m % P, r = element / L;
            of_dy = add_to(of_dy, (real)dy[element]);
            of_product = add_to(of_product, (real)dy[element] * (((real)x[element] - mean[r]) * inverse[r]));
        }
        real total = value_of(of_dy), product = value_of(of_product);
        if (lanes == 32) {
            total = warp_sum(total);
            product = warp_sum(product);
        }
        if (lane == 0) {
            dbias[c] = total;
            dweight[c] = product;
        }
    }
}
