// Flat indices into images and columns, and which windows read a pixel. All arrays are row-major (C order).
//
// A length along one axis is an int, whatever the array's size; only a flat index into a whole array is an index_t. So
// the loops over the taps of a window divide 32-bit numbers.
#pragma once
#include "numbers.cuh"

// Pixel (n, c, h, w) of images of shape (N, C, H, W); N itself is not needed.
__device__ __forceinline__ index_t pixel_at(
    index_t n, int c, int h, int w, int C, int H, int W) {
    return ((n * C + c) * H + h) * W + w;
}

// Element (c, i, j, n, p, q) of columns of shape (C, KH, KW, N, OH, OW); C itself is not needed.
__device__ __forceinline__ index_t column_at(
    index_t c, int i, int j, int n, int p, int q, int KH, int KW, int N, int OH, int OW) {
    return ((((c * KH + i) * KW + j) * N + n) * OH + p) * OW + q;
}

// Split the index along the last axis, of `length`, off a flat index; `flat` becomes the flat index of the axes before it.
// Called once an axis, last axis first. One division an axis, and no remainder.
__device__ __forceinline__ int take_index(index_t& flat, int length) {
    const index_t quotient = flat / length;
    const int index = (int)(flat - quotient * length);
    flat = quotient;
    return index;
}

// Along one axis: the window that reads `pixel` with its tap number `tap`, or -1 if there is none.
//
//     window o, tap i  reads  pixel  stride * o + dilation * i - before          `before`: the padding at the near end
//
//     pixel      0  1  2  3  4  5  6          stride 2, dilation 1, 3 taps, no padding
//     window 0   0  1  2                      pixel 2 is read by window 0 with tap 2 and by window 1 with tap 0
//     window 1         0  1  2
//     window 2               0  1  2
//
// The backward kernels gather with it: a thread owns a pixel and finds for each tap the window that reads it. No two
// threads add to the same number, and the order of each sum is always the same.
__device__ __forceinline__ int window_over(
    int pixel, int tap, int stride, int dilation, int before, int windows) {
    const int start = pixel + before - tap * dilation;
    if (start < 0 || start % stride != 0) return -1;
    return start / stride < windows ? start / stride : -1;
}
