// A sum that loses next to nothing, however many terms it has: a window may be a whole image.
#pragma once
#include "numbers.cuh"

// The sum so far, and apart from it what rounding took away: together they have twice the digits.
struct Sum {
    real total, rest;
};

// Knuth, "The Art of Computer Programming" 2, section 4.2.2, theorem B: total + term = larger + lost. Then what was lost
// so far goes back into the total as far as that has digits for it. Of an infinite total nothing is left over.
__device__ __forceinline__ Sum add_to(Sum sum, real term) {
    const real larger = sum.total + term, of_term = larger - sum.total;
    const real lost = sum.rest + ((sum.total - (larger - of_term)) + (term - of_term));
    const real total = larger + lost;
    if (larger - larger != 0) return {larger, 0};
    return {total, lost - (total - larger)};
}

__device__ __forceinline__ real value_of(Sum sum) { return sum.total + sum.rest; }
