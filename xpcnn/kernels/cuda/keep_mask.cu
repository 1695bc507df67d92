// Dropout's coin: bit for bit that of xpcnn/random.py, so that every backend drops the same units.
#include "numbers.cuh"

typedef unsigned long long u64;

__device__ __forceinline__ u64 swap_halves(u64 x) { return x >> 32 | x << 32; }

// Squares: four rounds of a middle square. Widynski, arXiv:2004.06278, section 4.
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
