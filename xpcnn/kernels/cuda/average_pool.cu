// Average pooling. The mean of a window is over its pixels that count: those in the image, which may be held to extend
// by (above, below, before, behind), the padding, where that is to count too.
#include "geometry.cuh"

__device__ __forceinline__ int counted(int start, int K, int length, int leading, int trailing) {
    const int end = start + K < length + trailing ? start + K : length + trailing;
    return end - (start > -leading ? start : -leading);
}

// A thread makes one window's mean.
extern "C" __global__ void __launch_bounds__(256, 1) average_pool(
    const storage* __restrict__ x,  // (N, C, H, W)
    storage* __restrict__ y,        // (N, C, OH, OW)
    int N, int C, int H, int W, int OH, int OW,
    int KH, int KW, int SH, int SW, int top, int left,
    int above, int below, int before, int behind) {
    const index_t size = (index_t)N * C * OH * OW;
    for (index_t element = first_element(); element < size; element += element_step()) {
        index_t image = element;  // once its last digits are off, n and c together
        const int q = take_digit(image, OW), p = take_digit(image, OH);
        real sum = 0;
        for (int h = SH * p - top; h < SH * p - top + KH; ++h)
            for (int w = SW * q - left; w < SW * q - left + KW; ++w)
                if (0 <= h && h < H && 0 <= w && w < W) sum += (real)x[pixel_at(image, 0, h, w, 1, H, W)];
        const int count =
            counted(SH * p - top, KH, H, above, below) * counted(SW * q - left, KW, W, before, behind);
        y[element] = (storage)(sum / (real)count);
    }
}

// A thread makes one pixel: it adds its share of every window that sees it.
extern "C" __global__ void __launch_bounds__(256, 1) average_pool_backward(
    const storage* __restrict__ dy,  // (N, C, OH, OW)
    storage* __restrict__ dx,        // (N, C, H, W)
    int N, int C, int H, int W, int OH, int OW,
    int KH, int KW, int SH, int SW, int top, int left,
    int above, int below, int before, int behind) {
    const index_t size = (index_t)N * C * H * W;
    for (index_t element = first_element(); element < size; element += element_step()) {
        index_t image = element;
        const int w = take_digit(image, W), h = take_digit(image, H);
        real sum = 0;
        for (int i = 0; i < KH; ++i) {
            const int p = window_over(h, i, SH, 1, top, OH);
            if (p < 0) continue;
            for (int j = 0; j < KW; ++j) {
                const int q = window_over(w, j, SW, 1, left, OW);
                if (q < 0) continue;
                const int count =
                    counted(SH * p - top, KH, H, above, below) * counted(SW * q - left, KW, W, before, behind);
                sum += (real)dy[pixel_at(image, 0, p, q, 1, OH, OW)] / (real)count;
            }
        }
        dx[element] = (storage)sum;
    }
}
