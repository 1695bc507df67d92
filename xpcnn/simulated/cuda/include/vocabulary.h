// The words of CUDA C++ that a kernel's text may use, for a C++ compiler. What is missing here does not compile.
#pragma once
#ifdef __APPLE__  // or its headers hide ucontext
#define _XOPEN_SOURCE 600
#define _DARWIN_C_SOURCE
#endif
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define __global__
#define __host__
#define __device__ static
#define __forceinline__ inline
#define __constant__ static
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))

// All shared variables lie in one section of the library, so that it can be poisoned before every block; "used" tells
// the compiler that somebody whom it cannot see writes to them.
#ifdef __APPLE__
#define __shared__ static __attribute__((used, section("__DATA,shared_memory")))
extern char simulated_shared_begin __asm("section$start$__DATA$shared_memory");
extern char simulated_shared_end __asm("section$end$__DATA$shared_memory");
#else
#define __shared__ static __attribute__((used, section("shared_memory")))
extern char simulated_shared_begin __asm("__start_shared_memory") __attribute__((weak, visibility("hidden")));
extern char simulated_shared_end __asm("__stop_shared_memory") __attribute__((weak, visibility("hidden")));
#endif

struct uint3 {
    unsigned x, y, z;
};
typedef uint3 dim3;

static uint3 threadIdx, blockIdx;
static dim3 blockDim, gridDim;
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

// One thread runs at a time, so a read and a write are one step.
template <class T> T atomicAdd(T* address, T value) {
    const T old = *address;
    *address = old + value;
    return old;
}
template <class T> T atomicMax(T* address, T value) {
    const T old = *address;
    if (old < value) *address = value;
    return old;
}
