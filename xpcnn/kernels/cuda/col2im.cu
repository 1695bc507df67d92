// col2im: every pixel adds up the columns that it went into. A thread makes one pixel.
//
// The textbook scatters: it walks over the columns and adds to pixels. Threads that scatter meet on the same pixel and
// need atomics, whose order, and so whose rounding, changes from run to run. Gathering needs none.
#include "geometry.cuh"

extern "C" __global__ void __launch_bounds__(256, 1) col2im(
    const storage* __restrict__ cols,  // (C, KH, KW, N, OH, OW)
    storage* __restrict__ x,           // (N, C, H, W)
    int N, int C, int H, int W, int OH, int OW,
    int KH, int KW, int SH, int SW, int DH, int DW, int top, int left) {
    const index_t size = (index_t)N * C * H * W;
    for (index_t element = first_element(); element < size; element += element_step()) {
        index_t rest = element;
        const int w = take_digit(rest, W), h = take_digit(rest, H), c = take_digit(rest, C), n = (int)rest;
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
