// The words of CUDA C++ that a kernel's text may use, for a C++ compiler. What is missing here does not compile.
// (__shared__ is not among them: translate.py gives shared variables their place.)
#pragma once
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime.h"

#define __global__
#define __host__
#define __device__ static
#define __forceinline__ inline
#define __constant__ static
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))

#define threadIdx simulated::indices.thread
#define blockIdx simulated::indices.block
#define blockDim simulated::indices.threads
#define gridDim simulated::indices.blocks
static const int warpSize = 32;

struct __align__(8) float2 {
    float x, y;
};
struct __align__(16) float4 {
    float x, y, z, w;
};
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

template <class T> T min(T a, T b) { return b < a ? b : a; }
template <class T> T max(T a, T b) { return a < b ? b : a; }
template <class T> T __ldg(const T* address) { return *address; }
inline float rsqrtf(float x) { return 1 / sqrtf(x); }
inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)((uint64_t)a * b >> 32); }
inline float __int_as_float(int bits) {
    float value;
    memcpy(&value, &bits, 4);
    return value;
}
inline int __float_as_int(float value) {
    int bits;
    memcpy(&bits, &value, 4);
    return bits;
}

// ---- atomics. One thread runs at a time, so a read and a write are one step.

template <class T> SIMULATED_UNCHECKED T atomicAdd(T* address, T value) {
    simulated::access(simulated::ATOMIC, address, sizeof(T), __builtin_return_address(0));
    const T old = *address;
    *address = old + value;
    return old;
}
template <class T> SIMULATED_UNCHECKED T atomicMax(T* address, T value) {
    simulated::access(simulated::ATOMIC, address, sizeof(T), __builtin_return_address(0));
    const T old = *address;
    if (old < value) *address = value;
    return old;
}

// ---- waiting for others. A default argument knows the line of the call.

#define SIMULATED_HERE const char *file = __builtin_FILE(), int line = __builtin_LINE()

inline void __syncthreads(SIMULATED_HERE) { simulated::wait(simulated::FOR_BLOCK, ~0u, "__syncthreads", file, line); }
inline void __syncwarp(unsigned mask = ~0u, SIMULATED_HERE) {
    simulated::wait(simulated::FOR_WARP, mask, "__syncwarp", file, line);
}

namespace simulated {

// `source` is a lane, or -1 for the lane's own value.
template <class T>
SIMULATED_UNCHECKED T shuffle(unsigned mask, T value, int source, const char* what, const char* file, int line) {
    static_assert(sizeof(T) <= 8, "a shuffle moves 8 bytes at most");
    const char* lanes = exchange(mask, &value, sizeof(T), what, file, line);
    if (source < 0) return value;
    check_source(mask, source, what, file, line);
    memcpy(&value, lanes + source * LANE_BYTES, sizeof(T));
    return value;
}
inline int segment(int width) { return lane() & ~(width - 1); }

}  // namespace simulated

template <class T> T __shfl_sync(unsigned mask, T value, int source, int width = 32, SIMULATED_HERE) {
    const int taken = simulated::segment(width) | (source & (width - 1));
    return simulated::shuffle(mask, value, taken, "__shfl_sync", file, line);
}
template <class T> T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32, SIMULATED_HERE) {
    const int other = simulated::lane() ^ bits, end = simulated::segment(width) + width;
    return simulated::shuffle(mask, value, other < end ? other : -1, "__shfl_xor_sync", file, line);
}
template <class T> T __shfl_down_sync(unsigned mask, T value, unsigned lanes, int width = 32, SIMULATED_HERE) {
    const int other = simulated::lane() + (int)min(lanes, 32u), end = simulated::segment(width) + width;
    return simulated::shuffle(mask, value, other < end ? other : -1, "__shfl_down_sync", file, line);
}
template <class T> T __shfl_up_sync(unsigned mask, T value, unsigned lanes, int width = 32, SIMULATED_HERE) {
    const int other = simulated::lane() - (int)min(lanes, 32u);
    return simulated::shuffle(mask, value, other < simulated::segment(width) ? -1 : other, "__shfl_up_sync", file, line);
}
