// Max pooling. Forward leaves behind which pixel of its window won, in one byte; backward needs nothing else.
#include "geometry.cuh"

// The winner's number i * KW + j: a byte, or an int (-DXPCNN_WINNER=32) for windows of more than 256 pixels.
#ifndef XPCNN_WINNER
#define XPCNN_WINNER 8
#endif
#if XPCNN_WINNER == 8
typedef unsigned char winner_t;
#else
typedef int winner_t;
#endif

// A thread makes one window's result. Minus infinity lies beyond the image; the first of equals wins; NaN stays.
extern "C" __global__ void __launch_bounds__(256) max_pool(
    const storage* __restrict__ x,   // (N, C, H, W)
    storage* __restrict__ y,         // (N, C, OH, OW)
    winner_t* __restrict__ winner,   // (N, C, OH, OW)
    index_t N, index_t C, index_t H, index_t W, index_t OH, index_t OW,
    index_t KH, index_t KW, index_t SH, index_t SW, index_t DH, index_t DW, index_t top, index_t left) {
    const index_t size = N * C * OH * OW;
    for (index_t element = first_element(); element < size; element += element_step()) {
        const index_t q = element % OW, p = element / OW % OH, image = element / OW / OH;
        real best = -infinity();
        index_t first = 0;
        for (index_t i = 0; i < KH; ++i) {
            const index_t h = SH * p + DH * i - top;
            if (h < 0 || h >= H) continue;
            for (index_t j = 0; j < KW; ++j) {
                const index_t w = SW * q + DW * j - left;
                if (w < 0 || w >= W) continue;
                const real value = (real)x[pixel_at(0, image, h, w, 0, H, W)];
                if (value > best) first = i * KW + j;
                if (value > best || value != value) best = value;
            }
        }
        y[element] = (storage)best;
        winner[element] = (winner_t)first;
    }
}

// A thread makes one pixel: it adds what the windows that it won hand back.
extern "C" __global__ void __launch_bounds__(256) max_pool_backward(
    const storage* __restrict__ dy,       // (N, C, OH, OW)
    const winner_t* __restrict__ winner,  // (N, C, OH, OW)
    storage* __restrict__ dx,             // (N, C, H, W)
    index_t N, index_t C, index_t H, index_t W, index_t OH, index_t OW,
    index_t KH, index_t KW, index_t SH, index_t SW, index_t DH, index_t DW, index_t top, index_t left) {
    const index_t size = N * C * H * W;
    for (index_t element = first_element(); element < size; element += element_step()) {
        const index_t w = element % W, h = element / W % H, image = element / W / H;
        real sum = 0;
        for (index_t i = 0; i < KH; ++i) {
            const index_t p = window_over(h, i, SH, DH, top, OH);
            if (p < 0) continue;
            for (index_t j = 0; j < KW; ++j) {
                const index_t q = window_over(w, j, SW, DW, left, OW);
                if (q < 0) continue;
                const index_t window = pixel_at(0, image, p, q, 0, OH, OW);
                if (winner[window] == i * KW + j) sum += (real)dy[window];
            }
        }
        dx[element] = (storage)sum;
    }
}
