// SGD and momentum: one launch for all parameters of a network, which lie in one flat buffer.
#include "numbers.cuh"

extern "C" __global__ void __launch_bounds__(256, 1) sgd_update(
    storage* __restrict__ theta,    // (size)
    const storage* __restrict__ g,  // (size)
    real lr, index_t size) {
    for (index_t element = first_element(); element < size; element += element_step())
        theta[element] = (storage)((real)theta[element] - lr * (real)g[element]);
}

extern "C" __global__ void __launch_bounds__(256, 1) momentum_update(
    storage* __restrict__ theta,     // (size)
    const storage* __restrict__ g,   // (size)
    storage* __restrict__ velocity,  // (size)
    real lr, real momentum, index_t size) {
    for (index_t element = first_element(); element < size; element += element_step()) {
        const real v = (real)velocity[element] * momentum - lr * (real)g[element];
        velocity[element] = (storage)v;
        theta[element] = (storage)((real)theta[element] + v);
    }
}
