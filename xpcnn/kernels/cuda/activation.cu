// Activations other than ReLU, each one launch: y = f(x), and dx = dy f'.
//
//     kind         f(x)                            f' from                          numbers a, b
//     LEAKY_RELU   x where x > 0, else a x         x                                the slope
//     CLIP         min(max(x, a), b)               x                                low, high
//     SIGMOID      1 / (1 + exp(-x))               y: y (1 - y)
//     TANH         tanh(x)                         y: 1 - y^2
//     SILU         x s,  s = sigmoid(x)            x: s (1 + x (1 - s))
//     GELU         x Phi(x)                        x: Phi(x) + x phi(x)             Phi, phi: the normal distribution
//
//     x   [ .  .  .  .  .  .  .  . ]
//           |  |  |  |                   a thread is responsible for one element of y; backward, for one of dx
//     y   [ .  .  .  .  .  .  .  . ]
//
// All threads of a launch have the same kind, so the branch costs nothing beside the memory. NaN stays NaN.
#include "numbers.cuh"

enum Kind { LEAKY_RELU, CLIP, SIGMOID, TANH, SILU, GELU };  // in the order of KINDS in activation.py

// exp never overflows: its argument is never positive.
__device__ __forceinline__ real sigmoid(real x) {
    const real e = exp(-fabs(x));
    return (x >= 0 ? 1 : e) / (1 + e);
}

// Phi(x), the probability that a standard normal number is below x. erfc keeps its digits where Phi is tiny; 1 + erf does not.
__device__ __forceinline__ real normal_below(real x) { return erfc(-x * (real)0.70710678118654752) / 2; }

__device__ __forceinline__ real normal_density(real x) { return exp(-x * x / 2) * (real)0.39894228040143268; }

__device__ __forceinline__ real forward(int kind, real x, real a, real b) {
    switch (kind) {
        case LEAKY_RELU: return x > 0 ? x : a * x;
        case CLIP: {
            const real raised = x < a ? a : x;
            return raised > b ? b : raised;
        }
        case SIGMOID: return sigmoid(x);
        case TANH: return tanh(x);
        case SILU: return x * sigmoid(x);
        default: return x * normal_below(x);
    }
}

// `value` is y for SIGMOID and TANH, x for the others.
__device__ __forceinline__ real backward(int kind, real dy, real value, real a, real b) {
    switch (kind) {
        case LEAKY_RELU: return value > 0 ? dy : a * dy;
        case CLIP: return dy * (real)(a < value && value < b);
        case SIGMOID: return dy * value * (1 - value);
        case TANH: return dy * (1 - value * value);
        case SILU: {
            const real s = sigmoid(value);
            return dy * s * (1 + value * (1 - s));
        }
        default: return dy * (normal_below(value) + value * normal_density(value));
    }
}

extern "C" __global__ void __launch_bounds__(256, 1) activation(
    const storage* __restrict__ x,  // (size)
    storage* __restrict__ y,        // (size)
    int kind, real a, real b, index_t size) {
    for (index_t element = first_element(); element < size; element += element_step())
        y[element] = (storage)forward(kind, (real)x[element], a, b);
}

extern "C" __global__ void __launch_bounds__(256, 1) activation_backward(
    const storage* __restrict__ dy,     // (size)
    const storage* __restrict__ value,  // (size)
    storage* __restrict__ dx,           // (size)
    int kind, real a, real b, index_t size) {
    for (index_t element = first_element(); element < size; element += element_step())
        dx[element] = (storage)backward(kind, (real)dy[element], (real)value[element], a, b);
}
