// im2col: every receptive field as a column, the padding folded in. A thread makes one element of the result.
#include "geometry.cuh"

extern "C" __global__ void __launch_bounds__(256, 1) im2col(
    const storage* __restrict__ x,   // (N, C, H, W)
    storage* __restrict__ cols,      // (C, KH, KW, N, OH, OW)
    real fill,                       // what lies beyond the image
    int N, int C, int H, int W, int OH, int OW,
    int KH, int KW, int SH, int SW, int DH, int DW, int top, int left) {
    const index_t size = (index_t)C * KH * KW * N * OH * OW;
    for (index_t element = first_element(); element < size; element += element_step()) {
        index_t rest = element;
        const int q = take_digit(rest, OW), p = take_digit(rest, OH), n = take_digit(rest, N);
        const int j = take_digit(rest, KW), i = take_digit(rest, KH), c = (int)rest;
        const int h = SH * p + DH * i - top, w = SW * q + DW * j - left;
        const bool inside = 0 <= h && h < H && 0 <= w && w < W;
        cols[element] = inside ? x[pixel_at(n, c, h, w, C, H, W)] : (storage)fill;
    }
}
