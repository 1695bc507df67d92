// The types that every kernel is written in, and how a thread finds its elements.
//
// One text serves several types. The launcher compiles it once for each set that is asked for:
//   storage   the type of the arrays      float;  __half with -DXPCNN_STORAGE=16;  double with -DXPCNN_STORAGE=64
//   real      the type of the arithmetic  float, for __half too, whose 11 bits are too few for a sum; double for double
//   index_t   the type of a flat index    int;  long long with -DXPCNN_INDEX=64, for arrays of 2^30 elements and more
// A 64-bit division costs a GPU several times as much as a 32-bit one, hence the choice.
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
// the 1 the compiler spills registers to memory to make room for more blocks. `make kernels` checks for spills.

// A grid-stride loop from first_element() in steps of element_step() visits every element once, with any number of threads:
//
//     element    0    1   ...  255 | 256  ...  511 | 512  ...  767 | 768 ...
//     thread     0    1   ...  255 |   0  ...  255 |   0  ...  255 |   0 ...
//     block            0           |       1       |       0       |   1 ...          a grid of two blocks
//
// Neighbouring threads read neighbouring elements, so the 32 reads of a warp become one long read.
__device__ __forceinline__ index_t first_element() { return (index_t)blockIdx.x * blockDim.x + threadIdx.x; }
__device__ __forceinline__ index_t element_step() { return (index_t)gridDim.x * blockDim.x; }

__device__ __forceinline__ real infinity() { return (real)__int_as_float(0x7f800000); }
__device__ __forceinline__ real not_a_number() { return (real)__int_as_float(0x7fc00000); }
