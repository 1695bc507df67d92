// What stands before and after the matrix products of a convolution. P = OH * OW pixels; O filters; N images.
//
//     forward, the epilogue          product (O, N, P)  = filters @ columns        one row a filter, all images in it
//                                        |  + bias[o], transpose
//                                    y       (N, O, P)                             images
//
//     backward                       dy      (N, O, P)
//                                        |  transpose
//                                    dproduct (O, N, P)  -> dweight = dproduct @ columns^T,  dcolumns = filters^T @ dproduct
//                                        |  sum each row
//                                    dbias   (O)
#include "reduce.cuh"
#include "sum.cuh"

// A thread is responsible for one element of y: neighbouring threads read and write neighbouring pixels.
extern "C" __global__ void __launch_bounds__(256, 1) add_bias(
    const storage* __restrict__ product,  // (O, N, P)
    const storage* __restrict__ bias,     // (O)
    storage* __restrict__ y,              // (N, O, P)
    index_t N, index_t O, index_t P) {
    const index_t size = N * O * P;
    for (index_t element = first_element(); element < size; element += element_step()) {
        const index_t p = element % P, o = element / P % O, n = element / P / O;
        y[element] = (storage)((real)product[(o * N + n) * P + p] + (real)bias[o]);
    }
}

// A thread is responsible for one element of dproduct, which is dy with its first two axes transposed.
extern "C" __global__ void __launch_bounds__(256, 1) filters_first(
    const storage* __restrict__ dy,  // (N, O, P)
    storage* __restrict__ dproduct,  // (O, N, P)
    index_t N, index_t O, index_t P) {
    const index_t size = N * O * P;
    for (index_t element = first_element(); element < size; element += element_step()) {
        const index_t p = element % P, n = element / P % N, o = element / P / N;
        dproduct[element] = dy[(n * O + o) * P + p];
    }
}

// A block is responsible for one row, the gradient of one filter's bias. Each thread sums every 256th element of the row, then
// the block sums the threads.
extern "C" __global__ void __launch_bounds__(256, 1) row_sum(
    const storage* __restrict__ values,  // (O, L)
    real* __restrict__ sums,             // (O)
    index_t O, index_t L) {
    const index_t o = blockIdx.x;
    Sum mine = {0, 0};
    for (index_t l = threadIdx.x; l < L; l += blockDim.x) mine = add_to(mine, (real)values[o * L + l]);
    const real sum = block_sum(value_of(mine));
    if (threadIdx.x == 0) sums[o] = sum;
}
