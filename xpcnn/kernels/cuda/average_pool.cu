// Average pooling. The mean of a window is over its pixels that count: those in the image, which may be held to extend
// by (above, below, before, behind), the padding, where that is to count too.
#include "geometry.cuh"

__device__ __forceinline__ index_t counted(
    index_t start, index_t K, index_t length, index_t leading, index_t trailing) {
    const index_t end = start + K < length + trailing ? start + K : length + trailing;
    return end - (start > -leading ? start : -leading);
}

// A thread makes one window's mean.
extern "C" __global__ void __launch_bounds__(256) average_pool(
    const storage* __restrict__ x,  // (N, C, H, W)
    storage* __restrict__ y,        // (N, C, OH, OW)
    index_t N, index_t C, index_t H, index_t W, index_t OH, index_t OW,
    index_t KH, index_t KW, index_t SH, index_t SW, index_t top, index_t left,
    index_t above, index_t below, index_t before, index_t behind) {
    const index_t size = N * C * OH * OW;
    for (index_t element = first_element(); element < size; element += element_step()) {
        const index_t q = element % OW, p = element / OW % OH, image = element / OW / OH;
        real sum = 0;
        for (index_t h = SH * p - top; h < SH * p - top + KH; ++h)
            for (index_t w = SW * q - left; w < SW * q - left + KW; ++w)
                if (0 <= h && h < H && 0 <= w && w < W) sum += (real)x[pixel_at(0, image, h, w, 0, H, W)];
        const index_t count =
            counted(SH * p - top, KH, H, above, below) * counted(SW * q - left, KW, W, before, behind);
        y[element] = (storage)(sum / (real)count);
    }
}

// A thread makes one pixel: it adds its share of every window that sees it.
extern "C" __global__ void __launch_bounds__(256) average_pool_backward(
    const storage* __restrict__ dy,  // (N, C, OH, OW)
    storage* __restrict__ dx,        // (N, C, H, W)
    index_t N, index_t C, index_t H, index_t W, index_t OH, index_t OW,
    index_t KH, index_t KW, index_t SH, index_t SW, index_t top, index_t left,
    index_t above, index_t below, index_t before, index_t behind) {
    const index_t size = N * C * H * W;
    for (index_t element = first_element(); element < size; element += element_step()) {
        const index_t w = element % W, h = element / W % H, image = element / W / H;
        real sum = 0;
        for (index_t i = 0; i < KH; ++i) {
            const index_t p = window_over(h, i, SH, 1, top, OH);
            if (p < 0) continue;
            for (index_t j = 0; j < KW; ++j) {
                const index_t q = window_over(w, j, SW, 1, left, OW);
                if (q < 0) continue;
                const index_t count =
                    counted(SH * p - top, KH, H, above, below) * counted(SW * q - left, KW, W, before, behind);
                sum += (real)dy[pixel_at(0, image, p, q, 0, OH, OW)] / (real)count;
            }
        }
        dx[element] = (storage)sum;
    }
}
