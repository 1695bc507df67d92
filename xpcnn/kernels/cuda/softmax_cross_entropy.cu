// Softmax and cross-entropy in one: a warp takes a row, whose 32 lanes share out the classes and agree by shuffles.
//
//     log p = z - max z - log sum exp(z - max z)          loss = -log p[label], or -sum t log p
//
// The logarithm of a tiny p is never taken. The losses of the rows are averaged by one block, in a fixed order.
#include "reduce.cuh"
#include "sum.cuh"

// What is subtracted from every logit of a row: max z + log sum exp(z - max z), in two numbers for accuracy.
struct Shift {
    real largest, log_sum;
};

__device__ Shift row_shift(const storage* row, index_t D, int lane) {
    real largest = -infinity(), sum = 0;
    for (index_t d = lane; d < D; d += 32) largest = fmax(largest, (real)row[d]);
    largest = warp_max(largest);
    for (index_t d = lane; d < D; d += 32) sum += exp((real)row[d] - largest);
    return {largest, log(warp_sum(sum))};
}

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
            // Labels are checked on the host. One that slips through reads no foreign memory: the loss is NaN, and shows.
            const long long label = labels[m];
            losses[m] = 0 <= label && label < D ? shift.log_sum - ((real)row[label] - shift.largest) : not_a_number();
        }
    }
}

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

// One block: a sum over blocks would need atomics or a second launch, and a batch is short.
extern "C" __global__ void __launch_bounds__(256, 1) mean(
    const real* __restrict__ values,  // (M)
    real* __restrict__ result,        // (1)
    index_t M) {
    Sum mine = {0, 0};
    for (index_t m = threadIdx.x; m < M; m += blockDim.x) mine = add_to(mine, values[m]);
    const real sum = block_sum(value_of(mine));
    if (threadIdx.x == 0) result[0] = sum / (real)M;
}

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

extern "C" __global__ void __launch_bounds__(256, 1) cross_entropy_of_rows_backward(
    const storage* __restrict__ probabilities,  // (M, D)
    const storage* __restrict__ targets,        // (M, D)
    const real* __restrict__ sums,              // (M): of a row of targets
    storage* __restrict__ dlogits,              // (M, D)
    index_t M, index_t D) {
    for (index_t element = first_element(); element < M * D; element += element_step()) {
        const real expected = (real)probabilities[element] * sums[element / D];
        dlogits[element] = (storage)((expected - (real)targets[element]) / (real)M);
    }
}
