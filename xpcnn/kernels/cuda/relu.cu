// ReLU, element by element. NaN stays NaN, as in the textbook: a broken network should show.
#include "numbers.cuh"

extern "C" __global__ void __launch_bounds__(256, 1) relu(
    const storage* __restrict__ x,  // (size)
    storage* __restrict__ y,        // (size)
    index_t size) {
    for (index_t element = first_element(); element < size; element += element_step()) {
        const real value = (real)x[element];
        y[element] = (storage)(value < 0 ? 0 : value);
    }
}

extern "C" __global__ void __launch_bounds__(256, 1) relu_backward(
    const storage* __restrict__ dy,  // (size)
    const storage* __restrict__ y,   // (size)
    storage* __restrict__ dx,        // (size)
    index_t size) {
    for (index_t element = first_element(); element < size; element += element_step())
        dx[element] = (storage)((real)dy[element] * (real)((real)y[element] > 0));
}
