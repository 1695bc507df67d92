// Dropout masks, identical on every backend: the same bits as xpcnn/random.py.
//
//     element      0        1        2      ...          a thread is responsible for one element of the mask
//     bits         f(c+0)   f(c+1)   f(c+2) ...          c is the counter; f hashes a number to 32 bits
//     keep         bits >= threshold                     true with probability 1 - p
//
// Nothing is stored between two elements, so no thread waits for another.
#include "numbers.cuh"

typedef unsigned long long u64;

__device__ __forceinline__ u64 swap_halves(u64 x) { return x >> 32 | x << 32; }

// Squares, a counter-based generator: four rounds of a middle square. Widynski, arXiv:2004.06278, section 4.
__device__ __forceinline__ unsigned int counter_bits(u64 counter, u64 key) {
    const u64 y = counter * key, z = y + key;
    u64 x = y;
    x = swap_halves(x * x + y);
    x = swap_halves(x * x + z);
    x = swap_halves(x * x + y);
    return (unsigned int)((x * x + z) >> 32);
}

extern "C" __global__ void __launch_bounds__(256, 1) keep_mask(
    const u64* __restrict__ counter,  // (1)
    bool* __restrict__ keep,          // (size)
    u64 key, unsigned int threshold, index_t size) {
    for (index_t element = first_element(); element < size; element += element_step())
        keep[element] = counter_bits(counter[0] + (u64)element, key) >= threshold;
}
