// A compensated sum: it loses next to nothing, however many terms it has. A pooling window may be a whole image.
#pragma once
#include "numbers.cuh"

// The sum so far, and what rounding has taken away from it: together they have twice the digits.
struct Sum {
    real total, lost;
};

// Knuth, "The Art of Computer Programming" 2, section 4.2.2, theorem B: total + term = larger + lost. Then as much of what
// was lost goes back into the total as it has digits for. An infinite total has lost nothing.
__device__ __forceinline__ Sum add_to(Sum sum, real term) {
    const real larger = sum.total + term, of_term = larger - sum.total;
    const real lost = sum.lost + ((sum.total - (larger - of_term)) + (term - of_term));
    const real total = larger + lost;
    if (larger - larger != 0) return {larger, 0};
    return {total, lost - (total - larger)};
}

__device__ __forceinline__ real value_of(Sum sum) { return sum.total + sum.lost; }
