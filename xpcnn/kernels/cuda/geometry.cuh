// Where things lie: row-major positions in images and in columns, and which windows see a pixel.
#pragma once
#include "numbers.cuh"

// Element (n, c, h, w) of images of shape (N, C, H, W); N itself is not needed.
__device__ __forceinline__ index_t pixel_at(
    index_t n, index_t c, index_t h, index_t w, index_t C, index_t H, index_t W) {
    return ((n * C + c) * H + h) * W + w;
}

// Element (c, i, j, n, p, q) of columns of shape (C, KH, KW, N, OH, OW); C itself is not needed.
__device__ __forceinline__ index_t column_at(
    index_t c, index_t i, index_t j, index_t n, index_t p, index_t q,
    index_t KH, index_t KW, index_t N, index_t OH, index_t OW) {
    return ((((c * KH + i) * KW + j) * N + n) * OH + p) * OW + q;
}

// Along one axis: the window whose element `tap` lies on `pixel`, or -1 where there is none. The backward
// kernels gather with it: a thread owns a pixel and asks every tap for its window, so no two threads add to the
// same number and the order of the sum is always the same.
__device__ __forceinline__ index_t window_over(
    index_t pixel, index_t tap, index_t stride, index_t dilation, index_t before, index_t windows) {
    const index_t start = pixel + before - tap * dilation;
    if (start < 0 || start % stride != 0) return -1;
    return start / stride < windows ? start / stride : -1;
}
