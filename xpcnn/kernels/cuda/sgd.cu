// SGD and momentum: one launch for all parameters of a network, which lie in one flat buffer.
#include "numbers.cuh"

extern "C" __global__ void __launch_bounds__(256, 1) sgd_update(
    storage* __restrict__ theta,    // (size)
    const real* __restrict__ g,     // (size)
    real lr, index_t size) {
    for (index_t element = first_element(); element < size; element += element_step())
        theta[element] = (storage)((real)theta[element] - lr * g[element]);
}

extern "C" __global__ void __launch_bounds__(256, 1) momentum_update(
    storage* __restrict__ theta,     // (size)
    const real* __restrict__ g,      // (size)
    real* __restrict__ velocity,     // (size)
    real lr, real momentum, index_t size) {
    for (index_t element = first_element(); element < size; element += element_step()) {
        const real v = velocity[element] * momentum - lr * g[element];
        velocity[element] = v;
        theta[element] = (storage)((real)theta[element] + v);
    }
}
