// col2im: every pixel adds up the columns that it went into. A thread makes one pixel.
//
// The textbook scatters: it walks over the columns and adds to pixels. Threads that scatter meet on the same pixel and
// need atomics, whose order, and so whose rounding, changes from run to run. Gathering needs none.
#include "geometry.cuh"

extern "C" __global__ void __launch_bounds__(256) col2im(
    const storage* __restrict__ cols,  // (C, KH, KW, N, OH, OW)
    storage* __restrict__ x,           // (N, C, H, W)
    index_t N, index_t C, index_t H, index_t W, index_t OH, index_t OW,
    index_t KH, index_t KW, index_t SH, index_t SW, index_t DH, index_t DW, index_t top, index_t left) {
    const index_t size = N * C * H * W;
    for (index_t element = first_element(); element < size; element += element_step()) {
        const index_t w = element % W, h = element / W % H, c = element / W / H % C, n = element / W / H / C;
        real sum = 0;
        for (index_t i = 0; i < KH; ++i) {
            const index_t p = window_over(h, i, SH, DH, top, OH);
            if (p < 0) continue;
            for (index_t j = 0; j < KW; ++j) {
                const index_t q = window_over(w, j, SW, DW, left, OW);
                if (q >= 0) sum += (real)cols[column_at(c, i, j, n, p, q, KH, KW, N, OH, OW)];
            }
        }
        x[element] = (storage)sum;
    }
}
