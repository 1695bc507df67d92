// Max pooling. Forward also stores which tap of each window won; backward needs nothing else.
//
//     x                window 2 x 2, stride 2        y         winner, the tap's number i * KW + j
//      1  5 | 0  2
//      3  4 | 9  2                                   5  9      1  2
//     ------+------          ---->
//      6  6 | .  .                                   6  .      0  .     of equal pixels the first wins
//      0  2 | .  .
//
// Forward, a thread is responsible for one window. The padding is minus infinity, which never wins; NaN stays NaN.
// Backward, a thread is responsible for one pixel: it gathers dy from the windows that it won, in the order of the taps.
#include "geometry.cuh"

// One byte, or an int (-DXPCNN_WINNER=32) for windows of more than 256 taps.
#ifndef XPCNN_WINNER
#define XPCNN_WINNER 8
#endif
#if XPCNN_WINNER == 8
typedef unsigned char winner_t;
#else
typedef int winner_t;
#endif

extern "C" __global__ void __launch_bounds__(256, 1) max_pool(
    const storage* __restrict__ x,   // (N, C, H, W)
    storage* __restrict__ y,         // (N, C, OH, OW)
    winner_t* __restrict__ winner,   // (N, C, OH, OW)
    int N, int C, int H, int W, int OH, int OW,
    int KH, int KW, int SH, int SW, int DH, int DW, int top, int left) {
    const index_t size = (index_t)N * C * OH * OW;
    for (index_t element = first_element(); element < size; element += element_step()) {
        index_t image = element;  // after the next line, the flat index of (n, c)
        const int q = take_index(image, OW), p = take_index(image, OH);
        real best = -infinity();
        int first = 0;
        for (int i = 0; i < KH; ++i) {
            const int h = SH * p + DH * i - top;
            if (h < 0 || h >= H) continue;
            for (int j = 0; j < KW; ++j) {
                const int w = SW * q + DW * j - left;
                if (w < 0 || w >= W) continue;
                const real value = (real)x[pixel_at(image, 0, h, w, 1, H, W)];
                if (value > best) first = i * KW + j;
                if (value > best || value != value) best = value;
            }
        }
        y[element] = (storage)best;
        winner[element] = (winner_t)first;
    }
}

extern "C" __global__ void __launch_bounds__(256, 1) max_pool_backward(
    const storage* __restrict__ dy,       // (N, C, OH, OW)
    const winner_t* __restrict__ winner,  // (N, C, OH, OW)
    storage* __restrict__ dx,             // (N, C, H, W)
    int N, int C, int H, int W, int OH, int OW,
    int KH, int KW, int SH, int SW, int DH, int DW, int top, int left) {
    const index_t size = (index_t)N * C * H * W;
    for (index_t element = first_element(); element < size; element += element_step()) {
        index_t image = element;  // after the next line, the flat index of (n, c)
        const int w = take_index(image, W), h = take_index(image, H);
        real sum = 0;
        for (int i = 0; i < KH; ++i) {
            const int p = window_over(h, i, SH, DH, top, OH);
            if (p < 0) continue;
            for (int j = 0; j < KW; ++j) {
                const int q = window_over(w, j, SW, DW, left, OW);
                if (q < 0) continue;
                const index_t window = pixel_at(image, 0, p, q, 1, OH, OW);
                if (winner[window] == i * KW + j) sum += (real)dy[window];
            }
        }
        dx[element] = (storage)sum;
    }
}
