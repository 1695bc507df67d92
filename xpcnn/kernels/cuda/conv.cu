// What follows a convolution's matrix product, in one pass: the bias, ReLU where it is wanted, and the way back from the
// product's order, channels first (O, N, P), to the images' (N, O, P), with P = OH * OW. And the same backwards.
#include "reduce.cuh"
#include "sum.cuh"

extern "C" __global__ void __launch_bounds__(256, 1) bias_relu(
    const storage* __restrict__ product,  // (O, N, P)
    const storage* __restrict__ bias,     // (O)
    storage* __restrict__ y,              // (N, O, P)
    int rectify,                          // 1: max(., 0) too
    index_t N, index_t O, index_t P) {
    const index_t size = N * O * P;
    for (index_t element = first_element(); element < size; element += element_step()) {
        const index_t p = element % P, o = element / P % O, n = element / P / O;
        const real value = (real)product[(o * N + n) * P + p] + (real)bias[o];
        y[element] = (storage)(rectify && value < 0 ? 0 : value);
    }
}

extern "C" __global__ void __launch_bounds__(256, 1) bias_relu_backward(
    const storage* __restrict__ dy,  // (N, O, P)
    const storage* __restrict__ y,   // (N, O, P)
    storage* __restrict__ dproduct,  // (O, N, P)
    int rectify,                     // 0: y is not read
    index_t N, index_t O, index_t P) {
    const index_t size = N * O * P;
    for (index_t element = first_element(); element < size; element += element_step()) {
        const index_t p = element % P, n = element / P % N, o = element / P / N;
        const index_t image = (n * O + o) * P + p;
        const real passes = rectify ? (real)((real)y[image] > 0) : 1;
        dproduct[element] = (storage)((real)dy[image] * passes);
    }
}

// The bias's gradient: a block adds up a channel.
extern "C" __global__ void __launch_bounds__(256, 1) channel_sum(
    const storage* __restrict__ values,  // (O, L)
    real* __restrict__ sums,             // (O)
    index_t O, index_t L) {
    const index_t o = blockIdx.x;
    Sum mine = {0, 0};
    for (index_t l = threadIdx.x; l < L; l += blockDim.x) mine = add_to(mine, (real)values[o * L + l]);
    const real sum = block_sum(value_of(mine));
    if (threadIdx.x == 0) sums[o] = sum;
}
