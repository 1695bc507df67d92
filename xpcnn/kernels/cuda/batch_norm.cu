// Batch normalisation of images (N, C, P) with P pixels each. Statistics and sums of a channel are `real`: those of values in
// half may be more than half can hold.
//
//     x (N, C, P)            channel c of every image:                 m counts them: n = m / P, p = m % P
//
//     image 0   [ c0 ......... | c1 ######### | c2 ......... ]         m = 0   ... P-1
//     image 1   [ c0 ......... | c1 ######### | c2 ......... ]         m = P   ... 2P-1        block 1 reads all of these,
//     ...                                                                                     thread t every 256th from t
//
//     batch_statistics, batch_norm_sums   a block is responsible for a channel; its threads are reduced in a fixed order
//     batch_norm, batch_norm_dx           a thread is responsible for an element
#include "moments.cuh"
#include "reduce.cuh"

// Lane 0 of every warp gets the moments of the whole block. As with block_sum, the caller puts a __syncthreads() between two
// calls.
__device__ Moments block_moments(RunningMoments running) {
    __shared__ Moments partial[32];  // one a warp
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    const Moments mine = warp_moments(moments_of(running));
    if (lane == 0) partial[warp] = mine;
    __syncthreads();  // the moments of all warps are written
    const Moments none = {0, 0, 0};
    return warp_moments(lane < warps ? partial[lane] : none);
}

// mean and (biased) variance of each channel
extern "C" __global__ void __launch_bounds__(256, 1) batch_statistics(
    const storage* __restrict__ x,   // (N, C, P)
    real* __restrict__ mean,         // (C)
    real* __restrict__ variance,     // (C)
    index_t N, index_t C, index_t P) {
    const index_t c = blockIdx.x;
    RunningMoments mine = {0, {0, 0}, {0, 0}};
    for (index_t m = threadIdx.x; m < N * P; m += blockDim.x) take_in(mine, (real)x[(m / P * C + c) * P + m % P]);
    const Moments channel = block_moments(mine);
    if (threadIdx.x == 0) {
        mean[c] = channel.mean;
        variance[c] = channel.squares / channel.count;
    }
}

// y = (x - mean) weight / sqrt(variance + eps) + bias
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

// dbias = sum dy        dweight = sum dy xhat        xhat = (x - mean) / sqrt(variance + eps)
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
    __syncthreads();  // every thread has read the partial sums: block_sum may write them again
    const real product = block_sum(value_of(of_product));
    if (threadIdx.x == 0) {
        dbias[c] = total;
        dweight[c] = product;
    }
}

// dx = weight / sqrt(variance + eps) (dy - (dbias + xhat dweight) per_value)
// per_value is 1 / (N P), or 0 if mean and variance were constants.
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
