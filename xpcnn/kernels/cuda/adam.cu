// Adam: one launch for all parameters of a network. Both running means and the step in one pass over memory.
#include "numbers.cuh"

extern "C" __global__ void __launch_bounds__(256, 1) adam_update(
    storage* __restrict__ theta,    // (size)
    const real* __restrict__ g,     // (size)
    real* __restrict__ mean,        // (size)
    real* __restrict__ squares,     // (size)
    real step, real eps,            // both with the correction for beginning at zero
    real beta1, real beta2,
    real rest1, real rest2,         // 1 - beta: subtracted in double on the host, for 1 - 0.999f has four digits
    index_t size) {
    for (index_t element = first_element(); element < size; element += element_step()) {
        const real gradient = g[element];
        const real m = mean[element] * beta1 + rest1 * gradient;
        const real v = squares[element] * beta2 + rest2 * gradient * gradient;
        mean[element] = m;
        squares[element] = v;
        theta[element] = (storage)((real)theta[element] - step * m / (sqrt(v) + eps));
    }
}
