// The optimizers' updates: one launch for all parameters of a network, in one pass over memory.
//
//                  conv1.weight | conv1.bias | affine.weight | ...        the parameters, one after the other
//     theta       [ . . . . . . | . . . . .  | . . . . . . . | ... ]      (size)   storage
//     g           [ . . . . . . | . . . . .  | . . . . . . . | ... ]      (size)   real: for half too
//     velocity, mean, squares: the same; the state is real                (size)
//
// A thread is responsible for the same element of every array: it reads the gradient and the state, and writes the new state
// and the new parameter. No thread reads what another one writes.
#include "numbers.cuh"

//     theta -= lr g
extern "C" __global__ void __launch_bounds__(256, 1) sgd_update(
    storage* __restrict__ theta,    // (size)
    const real* __restrict__ g,     // (size)
    real lr, index_t size) {
    for (index_t element = first_element(); element < size; element += element_step())
        theta[element] = (storage)((real)theta[element] - lr * g[element]);
}

//     v = momentum v - lr g        theta += v
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

//     m = beta1 m + (1 - beta1) g        v = beta2 v + (1 - beta2) g^2        theta -= step m / (sqrt(v) + eps)
extern "C" __global__ void __launch_bounds__(256, 1) adam_update(
    storage* __restrict__ theta,    // (size)
    const real* __restrict__ g,     // (size)
    real* __restrict__ mean,        // (size)
    real* __restrict__ squares,     // (size)
    real step, real eps,            // both include the bias correction: xpcnn/kernels/adam.py
    real beta1, real beta2,
    real rest1, real rest2,         // 1 - beta, subtracted in double on the host: 1 - 0.999f has four correct digits
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
