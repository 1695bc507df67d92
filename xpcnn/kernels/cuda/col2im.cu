// col2im, the adjoint of im2col: add every element of the columns to the pixel that it was copied from.
//
//     cols, one column a window                    x
//     tap (0,0)  [ a0  a1  a2  a3 ]                pixel (1,1) of four overlapping 2 x 2 windows
//     tap (0,1)  [ b0  b1  b2  b3 ]      ---->
//     tap (1,0)  [ c0  c1  c2  c3 ]                = d0 + c1 + b2 + a3, in the order of the taps
//     tap (1,1)  [ d0  d1  d2  d3 ]
//
// A thread is responsible for one pixel: it gathers, tap by tap, from the window that reads the pixel with that tap. The
// reference op scatters: it walks over the columns and adds to pixels. Threads that scatter would add to the same pixel and
// need atomics, whose order, and so whose rounding, changes from run to run.
#include "geometry.cuh"

extern "C" __global__ void __launch_bounds__(256, 1) col2im(
    const storage* __restrict__ cols,  // (C, KH, KW, N, OH, OW)
    storage* __restrict__ x,           // (N, C, H, W)
    int N, int C, int H, int W, int OH, int OW,
    int KH, int KW, int SH, int SW, int DH, int DW, int top, int left) {
    const index_t size = (index_t)N * C * H * W;
    for (index_t element = first_element(); element < size; element += element_step()) {
        index_t rest = element;
        const int w = take_index(rest, W), h = take_index(rest, H), c = take_index(rest, C), n = (int)rest;
        real sum = 0;
        for (int i = 0; i < KH; ++i) {
            const int p = window_over(h, i, SH, DH, top, OH);
            if (p < 0) continue;
            for (int j = 0; j < KW; ++j) {
                const int q = window_over(w, j, SW, DW, left, OW);
                if (q >= 0) sum += (real)cols[column_at(c, i, j, n, p, q, KH, KW, N, OH, OW)];
            }
        }
        x[element] = (storage)sum;
    }
}
