// im2col: every receptive field as a column, the padding folded in. A thread makes one element of the result.
#include "geometry.cuh"

extern "C" __global__ void __launch_bounds__(256) im2col(
    const storage* __restrict__ x,   // (N, C, H, W)
    storage* __restrict__ cols,      // (C, KH, KW, N, OH, OW)
    real fill,                       // what lies beyond the image
    index_t N, index_t C, index_t H, index_t W, index_t OH, index_t OW,
    index_t KH, index_t KW, index_t SH, index_t SW, index_t DH, index_t DW, index_t top, index_t left) {
    const index_t size = C * KH * KW * N * OH * OW;
    for (index_t element = first_element(); element < size; element += element_step()) {
        index_t rest = element;  // read as the number (c, i, j, n, p, q), from its last digit on
        const index_t q = rest % OW;
        rest /= OW;
        const index_t p = rest % OH;
        rest /= OH;
        const index_t n = rest % N;
        rest /= N;
        const index_t j = rest % KW;
        rest /= KW;
        const index_t i = rest % KH;
        const index_t c = rest / KH;

        const index_t h = SH * p + DH * i - top, w = SW * q + DW * j - left;
        const bool inside = 0 <= h && h < H && 0 <= w && w < W;
        cols[element] = inside ? x[pixel_at(n, c, h, w, C, H, W)] : (storage)fill;
    }
}
