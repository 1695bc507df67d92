// Average pooling. The mean is over the pixels of the window that count: those in the image and, with count_include_pad,
// those in the padding. (above, below, before, behind) is how much padding counts on each side; 0 without it.
//
//     x with padding 1, window 2 x 2, stride 2        y               the number of pixels that count
//      .  .  .  .                                                     (0 padding counts | the padding counts)
//      .  4  2  .                                     4/1  2/1         1  1  |  4  4
//      .  6  8  .              ---->                  6/1  8/1         1  1  |  4  4
//      .  .  .  .
//
// Forward, a thread is responsible for one window: a compensated sum over its taps, divided by the count.
// Backward, a thread is responsible for one pixel: it gathers dy / count from the windows that read it.
#include "geometry.cuh"
#include "sum.cuh"

// Of K taps with the dilation D, the number whose distance from the first is less than `distance`.
__device__ __forceinline__ int taps_before(int distance, int K, int D) {
    if (distance <= 0) return 0;
    const int taps = (distance + D - 1) / D;
    return taps < K ? taps : K;
}

// Along one axis: the number of taps of the window at `start` that read a pixel that counts.
__device__ __forceinline__ int counted(int start, int K, int D, int length, int leading, int trailing) {
    return taps_before(length + trailing - start, K, D) - taps_before(-leading - start, K, D);
}

// The number of pixels that the mean of the window at (h, w) is over, at least 1.
__device__ __forceinline__ real pixel_count(
    int h, int w, int KH, int KW, int DH, int DW, int H, int W, int above, int below, int before, int behind) {
    const int count = counted(h, KH, DH, H, above, below) * counted(w, KW, DW, W, before, behind);
    return (real)(count > 1 ? count : 1);
}

extern "C" __global__ void __launch_bounds__(256, 1) average_pool(
    const storage* __restrict__ x,  // (N, C, H, W)
    storage* __restrict__ y,        // (N, C, OH, OW)
    int N, int C, int H, int W, int OH, int OW,
    int KH, int KW, int SH, int SW, int DH, int DW, int top, int left,
    int above, int below, int before, int behind) {
    const index_t size = (index_t)N * C * OH * OW;
    for (index_t element = first_element(); element < size; element += element_step()) {
        index_t image = element;  // after the next line, the flat index of (n, c)
        const int q = take_index(image, OW), p = take_index(image, OH);
        const int row = SH * p - top, column = SW * q - left;
        Sum sum = {0, 0};
        for (int i = 0; i < KH; ++i) {
            const int h = row + DH * i;
            if (h < 0 || h >= H) continue;
            for (int j = 0; j < KW; ++j) {
                const int w = column + DW * j;
                if (0 <= w && w < W) sum = add_to(sum, (real)x[pixel_at(image, 0, h, w, 1, H, W)]);
            }
        }
        const real count = pixel_count(row, column, KH, KW, DH, DW, H, W, above, below, before, behind);
        y[element] = (storage)(value_of(sum) / count);
    }
}

extern "C" __global__ void __launch_bounds__(256, 1) average_pool_backward(
    const storage* __restrict__ dy,  // (N, C, OH, OW)
    storage* __restrict__ dx,        // (N, C, H, W)
    int N, int C, int H, int W, int OH, int OW,
    int KH, int KW, int SH, int SW, int DH, int DW, int top, int left,
    int above, int below, int before, int behind) {
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
                const real count = pixel_count(
                    SH * p - top, SW * q - left, KH, KW, DH, DW, H, W, above, below, before, behind);
                sum += (real)dy[pixel_at(image, 0, p, q, 1, OH, OW)] / count;
            }
        }
        dx[element] = (storage)sum;
    }
}
