// The types that every kernel here is written in, and how a thread finds its elements.
//
// One text serves several types; the launcher compiles it once for each that is asked for:
//   storage   what arrays hold        float;  __half with -DXPCNN_STORAGE=16;  double with -DXPCNN_STORAGE=64
//   real      what sums are made in   float, for __half too: 11 bits do not add up; double for double
//   index_t   where an element lies   int;  long long with -DXPCNN_INDEX=64, for arrays of 2^30 elements and more
// A 64-bit division costs a GPU several times what a 32-bit one does, hence the choice.
#pragma once

#ifndef XPCNN_STORAGE
#define XPCNN_STORAGE 32
#endif
#ifndef XPCNN_INDEX
#define XPCNN_INDEX 32
#endif

#if XPCNN_STORAGE == 16
#include <cuda_fp16.h>
typedef __half storage;
typedef float real;
#elif XPCNN_STORAGE == 32
typedef float storage;
typedef float real;
#else
typedef double storage;
typedef double real;
#endif

#if XPCNN_INDEX == 32
typedef int index_t;
#else
typedef long long index_t;
#endif

// Every kernel is __launch_bounds__(256, 1): blocks of 256 threads, and one block on a multiprocessor is enough. Without
// the 1 the compiler spills registers into memory to make room for more blocks. `make kernels` watches over it.

// A loop from first_element() in steps of element_step() visits every element once, however many threads there are,
// and neighbouring threads touch neighbouring elements, so that a warp's 32 reads are one long read.
__device__ __forceinline__ index_t first_element() { return (index_t)blockIdx.x * blockDim.x + threadIdx.x; }
__device__ __forceinline__ index_t element_step() { return (index_t)gridDim.x * blockDim.x; }

__device__ __forceinline__ real infinity() { return (real)__int_as_float(0x7f800000); }
__device__ __forceinline__ real not_a_number() { return (real)__int_as_float(0x7fc00000); }
