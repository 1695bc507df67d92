// Half precision for the simulated GPU: storage in 16 bits, arithmetic in float. On a GPU this is NVIDIA's own header.
#pragma once
#include <stdint.h>
#include <string.h>

#include <type_traits>

struct __half {
    uint16_t bits;

    __half() = default;
    __half(float value) : bits(round(value)) {}
    __half(double value) : bits(round((float)value)) {}
    __half(int value) : bits(round((float)value)) {}

    operator float() const {
        const uint32_t sign = (uint32_t)(bits & 0x8000) << 16, exponent = bits >> 10 & 31, fraction = bits & 1023;
        if (exponent == 0) {  // zero, or subnormal: fraction * 2^-24
            const float value = (float)fraction * 5.9604644775390625e-8f;
            return sign ? -value : value;
        }
        const uint32_t wide = exponent == 31 ? 255 : exponent + 112;
        return as_float(sign | wide << 23 | fraction << 13);
    }

  private:
    static float as_float(uint32_t word) {
        float value;
        memcpy(&value, &word, 4);
        return value;
    }

    static uint16_t round(float value) {  // to nearest, ties to even
        uint32_t word;
        memcpy(&word, &value, 4);
        const uint16_t sign = (uint16_t)(word >> 16 & 0x8000);
        word &= 0x7fffffff;
        if (word > 0x7f800000) return (uint16_t)(sign | 0x7e00);   // NaN
        if (word >= 0x477ff000) return (uint16_t)(sign | 0x7c00);  // 65520 and more: infinity
        if (word < 0x38800000) {  // below 2^-14: adding 1/2 leaves the multiple of 2^-24 in the last bits, rounded
            const float shifted = as_float(word) + 0.5f;
            memcpy(&word, &shifted, 4);
            return (uint16_t)(sign | (word - 0x3f000000));
        }
        word += 0xfff + (word >> 13 & 1);
        return (uint16_t)(sign | (word - 0x38000000) >> 13);
    }
};

// Two halves make a half, rounded each time; a half and a float make a float.
#define SIMULATED_HALF(sign)                                                            \
    template <class T, class = std::enable_if_t<std::is_same<T, __half>::value>>        \
    T operator sign(T a, T b) {                                                         \
        return (float)a sign(float) b;                                                  \
    }                                                                                   \
    inline __half& operator sign##=(__half& a, const __half& b) { return a = (float)a sign(float) b; }
SIMULATED_HALF(+)
SIMULATED_HALF(-)
SIMULATED_HALF(*)
SIMULATED_HALF(/)

inline float __half2float(__half value) { return value; }
inline __half __float2half(float value) { return value; }
