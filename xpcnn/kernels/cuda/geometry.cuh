// Where things lie: row-major positions in images and in columns, and which windows see a pixel.
//
// A length along one axis is an int, whatever the array's size; only a position in the whole array is an index_t. So
// the loops over a window's elements divide 32-bit numbers.
#pragma once
#include "numbers.cuh"

// Element (n, c, h, w) of images of shape (N, C, H, W); N itself is not needed.
__device__ __forceinline__ index_t pixel_at(
    index_t n, int c, int h, int w, int C, int H, int W) {
    return ((n * C + c) * H + h) * W + w;
}

// Element (c, i, j, n, p, q) of columns of shape (C, KH, KW, N, OH, OW); C itself is not needed.
__device__ __forceinline__ index_t column_at(
    index_t c, int i, int j, int n, int p, int q, int KH, int KW, int N, int OH, int OW) {
    return ((((c * KH + i) * KW + j) * N + n) * OH + p) * OW + q;
}

// Take off the last digit of a number whose last place has `base` values: so an element's number becomes its indices,
// the last one first. One division a digit, and no remainder.
__device__ __forceinline__ int take_digit(index_t& rest, int base) {
    const index_t quotient = rest / base;
    const int digit = (int)(rest - quotient * base);
    rest = quotient;
    return digit;
}

// Along one axis: the window whose element `tap` lies on `pixel`, or -1 where there is none. The backward
// kernels gather with it: a thread owns a pixel and asks every tap for its window, so no two threads add to the
// same number and the order of the sum is always the same.
__device__ __forceinline__ int window_over(
    int pixel, int tap, int stride, int dilation, int before, int windows) {
    const int start = pixel + before - tap * dilation;
    if (start < 0 || start % stride != 0) return -1;
    return start / stride < windows ? start / stride : -1;
}
