// ReLU, y = max(x, 0). A thread is responsible for one element of y; backward, for one element of dx.
//
//     x   [ -1   3   0   nan ]               dy  [ 5   6   7   8   ]
//            |   |   |    |     a thread            |   |   |   |       dy passes where y > 0
//     y   [  0   3   0   nan ]   each        dx  [ 0   6   0   0   ]
//
// NaN stays NaN forward, as in the reference op: a fault in a network has to show.
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
