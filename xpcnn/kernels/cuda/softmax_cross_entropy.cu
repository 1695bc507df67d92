// Softmax and cross-entropy in one kernel.
//
//     log p = z - max z - log sum exp(z - max z)          loss = -log p[label], or -sum t log p
//
//     logits (M, D)     class   0   1   2  ...  31  32  33 ...
//     row 0  warp 0     lane    0   1   2  ...  31   0   1 ...        a warp is responsible for a row: its lanes read every
//     row 1  warp 1     lane    0   1   2  ...  31   0   1 ...        32nd class and agree on max and sum by shuffles
//     ...                       (eight warps a block)
//
//     losses (M)  ->  mean: one block, in a fixed order
//
// The logarithm of a tiny p is never taken.
#include "reduce.cuh"
#include "sum.cuh"

// The number that is subtracted from every logit of a row, max z + log sum exp(z - max z), kept as two for accuracy.
struct Shift {
    real largest, log_sum;
};

// Two passes over a row by its warp: the maximum, then the sum. Every lane gets both.
__device__ Shift row_shift(const storage* row, index_t D, int lane) {
    real largest = -infinity(), sum = 0;
    for (index_t d = lane; d < D; d += 32) largest = fmax(largest, (real)row[d]);
    largest = warp_max(largest);
    for (index_t d = lane; d < D; d += 32) sum += exp((real)row[d] - largest);
    return {largest, log(warp_sum(sum))};
}

// A warp is responsible for a row: probabilities, and loss = -log p[label] by lane 0.
extern "C" __global__ void __launch_bounds__(256, 1) cross_entropy_of_labels(
    const storage* __restrict__ logits,    // (M, D)
    const long long* __restrict__ labels,  // (M)
    storage* __restrict__ probabilities,   // (M, D)
    real* __restrict__ losses,             // (M)
    index_t M, index_t D) {
    const int lane = threadIdx.x % 32;
    for (index_t m = first_element() / 32; m < M; m += element_step() / 32) {
        const storage* row = logits + m * D;
        const Shift shift = row_shift(row, D, lane);
        for (index_t d = lane; d < D; d += 32)
            probabilities[m * D + d] = (storage)exp((real)row[d] - shift.largest - shift.log_sum);
        if (lane == 0) {
            // The host checks labels that it has. For others: a label out of range makes the loss NaN and reads nothing.
            const long long label = labels[m];
            losses[m] = 0 <= label && label < D ? shift.log_sum - ((real)row[label] - shift.largest) : not_a_number();
        }
    }
}

// A warp is responsible for a row: probabilities, and loss = -sum t log p.
extern "C" __global__ void __launch_bounds__(256, 1) cross_entropy_of_rows(
    const storage* __restrict__ logits,   // (M, D)
    const storage* __restrict__ targets,  // (M, D)
    storage* __restrict__ probabilities,  // (M, D)
    real* __restrict__ losses,            // (M)
    index_t M, index_t D) {
    const int lane = threadIdx.x % 32;
    for (index_t m = first_element() / 32; m < M; m += element_step() / 32) {
        const storage* row = logits + m * D;
        const Shift shift = row_shift(row, D, lane);
        real loss = 0;
        for (index_t d = lane; d < D; d += 32) {
            const real log_p = (real)row[d] - shift.largest - shift.log_sum, target = (real)targets[m * D + d];
            probabilities[m * D + d] = (storage)exp(log_p);
            if (target != 0) loss -= target * log_p;  // 0 log 0 = 0
        }
        loss = warp_sum(loss);
        if (lane == 0) losses[m] = loss;
    }
}

// One block sums all losses: several blocks would need atomics or a second launch, and a batch is short.
extern "C" __global__ void __launch_bounds__(256, 1) mean(
    const real* __restrict__ values,  // (M)
    real* __restrict__ result,        // (1)
    index_t M) {
    Sum mine = {0, 0};
    for (index_t m = threadIdx.x; m < M; m += blockDim.x) mine = add_to(mine, values[m]);
    const real sum = block_sum(value_of(mine));
    if (threadIdx.x == 0) result[0] = sum / (real)M;
}

// A thread is responsible for one element: dz = (p - 1) / M at the label, p / M elsewhere.
extern "C" __global__ void __launch_bounds__(256, 1) cross_entropy_of_labels_backward(
    const storage* __restrict__ probabilities,  // (M, D)
    const long long* __restrict__ labels,       // (M)
    storage* __restrict__ dlogits,              // (M, D)
    index_t M, index_t D) {
    for (index_t element = first_element(); element < M * D; element += element_step()) {
        const long long label = labels[element / D];
        const real target = 0 <= label && label < D ? (real)(label == element % D) : not_a_number();
        dlogits[element] = (storage)(((real)probabilities[element] - target) / (real)M);
    }
}

// A thread is responsible for one element: dz = (p sum t - t) / M.
extern "C" __global__ void __launch_bounds__(256, 1) cross_entropy_of_rows_backward(
    const storage* __restrict__ probabilities,  // (M, D)
    const storage* __restrict__ targets,        // (M, D)
    const real* __restrict__ sums,              // (M): the sum of each row of targets
    storage* __restrict__ dlogits,              // (M, D)
    index_t M, index_t D) {
    for (index_t element = first_element(); element < M * D; element += element_step()) {
        const real expected = (real)probabilities[element] * sums[element / D];
        dlogits[element] = (storage)((expected - (real)targets[element]) / (real)M);
    }
}
