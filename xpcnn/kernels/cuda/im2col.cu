// im2col: copy the receptive field of every output pixel into a column. The padding is part of it; x is not copied first.
//
//     x, one image, H = W = 4           cols, one column an output pixel (p, q)
//     window 2 x 2, stride 1
//                                                 (p,q) =  0,0  0,1  0,2  1,0  ...
//      a  b  c  d                       tap (0,0)        [  a    b    c    e   ... ]     row of cols (c, i, j)
//      e  f  g  h                       tap (0,1)        [  b    c    d    f   ... ]
//      i  j  k  l                       tap (1,0)        [  e    f    g    i   ... ]
//      m  n  o  p                       tap (1,1)        [  f    g    h    j   ... ]
//
// A thread is responsible for one element of cols: it finds the pixel that the tap reads. Neighbouring threads write
// neighbouring elements of a row and, with stride 1, read neighbouring pixels.
#include "geometry.cuh"

extern "C" __global__ void __launch_bounds__(256, 1) im2col(
    const storage* __restrict__ x,   // (N, C, H, W)
    storage* __restrict__ cols,      // (C, KH, KW, N, OH, OW)
    real fill,                       // the value of the padding
    int N, int C, int H, int W, int OH, int OW,
    int KH, int KW, int SH, int SW, int DH, int DW, int top, int left) {
    const index_t size = (index_t)C * KH * KW * N * OH * OW;
    for (index_t element = first_element(); element < size; element += element_step()) {
        index_t rest = element;
        const int q = take_index(rest, OW), p = take_index(rest, OH), n = take_index(rest, N);
        const int j = take_index(rest, KW), i = take_index(rest, KH), c = (int)rest;
        const int h = SH * p + DH * i - top, w = SW * q + DW * j - left;
        const bool inside = 0 <= h && h < H && 0 <= w && w < W;
        cols[element] = inside ? x[pixel_at(n, c, h, w, C, H, W)] : (storage)fill;
    }
}
