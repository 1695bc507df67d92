// What C++ leaves undefined and a GPU does without a word: the compiler calls these, by -fsanitize=alignment,bounds,...
#pragma once
#include "memory.h"

namespace simulated {

struct Where {
    const char* file;
    uint32_t line, column;
};
struct Type {
    uint16_t kind, info;  // of an integer, kind 0: info holds the logarithm of its bits, and whether it has a sign
    char name[1];
};
struct Operation {
    Where where;
    const Type* type;
    const Type* other;
};
struct Mismatch {
    Where where;
    const Type* type;
    unsigned char log_alignment;
};

static const char* number(const Type* type, void* value) {
    static char texts[2][32];
    static int turn;
    char* text = texts[turn ^= 1];
    const int bits = 1 << (type->info >> 1);
    if (type->kind != 0 || bits > 64) return "...";
    if (type->info & 1) snprintf(text, 32, "%lld", (long long)((uint64_t)value << (64 - bits)) >> (64 - bits));
    else snprintf(text, 32, "%llu", (unsigned long long)value);
    return text;
}

static void overflow(const Operation* found, void* left, const char* sign, void* right) {
    const Type* type = found->type;
    fault("overflow: %s%s%s passes the range of %s, in %s at %s:%u", number(type, left), sign, right ? number(type, right) : "",
          type->name, who(), found->where.file, found->where.line);
}

static void undefined(const Where& where, const char* what) {
    fault("%s, in %s at %s:%u", what, who(), where.file, where.line);
}

}  // namespace simulated

#define SIMULATED_CHECK(name, ...) extern "C" SIMULATED_LOCAL void __ubsan_handle_##name##_abort(__VA_ARGS__)
SIMULATED_CHECK(add_overflow, simulated::Operation* found, void* left, void* right) { simulated::overflow(found, left, " + ", right); }
SIMULATED_CHECK(sub_overflow, simulated::Operation* found, void* left, void* right) { simulated::overflow(found, left, " - ", right); }
SIMULATED_CHECK(mul_overflow, simulated::Operation* found, void* left, void* right) { simulated::overflow(found, left, " * ", right); }
SIMULATED_CHECK(negate_overflow, simulated::Operation* found, void* value) { simulated::overflow(found, value, ", negated,", nullptr); }
SIMULATED_CHECK(divrem_overflow, simulated::Operation* found, void*, void*) {
    simulated::undefined(found->where, "a division by zero, or of the least integer by -1");
}
SIMULATED_CHECK(shift_out_of_bounds, simulated::Operation* found, void*, void*) {
    simulated::undefined(found->where, "a shift by less than zero or by as many bits as the number has");
}
SIMULATED_CHECK(float_cast_overflow, simulated::Operation* found, void*) {
    simulated::undefined(found->where, "a floating-point number beyond the range of the integer that it is made");
}
SIMULATED_CHECK(out_of_bounds, simulated::Operation* found, void* index) {
    simulated::fault("out of bounds: element %s of %s, in %s at %s:%u", simulated::number(found->other, index), found->type->name,
                     simulated::who(), found->where.file, found->where.line);
}
SIMULATED_CHECK(type_mismatch_v1, simulated::Mismatch* found, char* address) {
    const simulated::Region* region = simulated::region_of(address, 1);
    simulated::fault("misaligned: %s at an address that is no multiple of %d (%s), in %s at %s:%u", found->type->name,
                     1 << found->log_alignment, region ? simulated::element_of(*region, address) : "in no array",
                     simulated::who(), found->where.file, found->where.line);
}
extern "C" SIMULATED_LOCAL void __ubsan_handle_missing_return(simulated::Operation* found) {
    simulated::undefined(found->where, "a function ends without the value that it should return");
}
