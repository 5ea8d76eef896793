// 4 floats or 2 doubles in the vectors of GCC and Clang: any machine. Include through simd.h.
#pragma once

namespace redrop {
namespace {

typedef float Floats __attribute__((vector_size(16)));
typedef double Doubles __attribute__((vector_size(16)));
typedef int32_t Integers __attribute__((vector_size(16)));
typedef int64_t LongIntegers __attribute__((vector_size(16)));

inline float float_of(uint32_t bits) {
    float x;
    __builtin_memcpy(&x, &bits, sizeof x);
    return x;
}
inline uint32_t bits_of(float x) {
    uint32_t bits;
    __builtin_memcpy(&bits, &x, sizeof bits);
    return bits;
}

inline float to_float(float x) { return x; }
inline double to_float(double x) { return x; }
inline float to_float(Bfloat16 x) { return float_of(static_cast<uint32_t>(x.bits) << 16); }
// Exponent biases are 15 and 127; a subnormal float16 counts units of 2^-24.
inline float to_float(Float16 x) {
    const uint32_t magnitude = x.bits & 0x7FFF, sign = static_cast<uint32_t>(x.bits & 0x8000) << 16;
    if (magnitude >= 0x7C00) return float_of(sign | 0x7F800000 | (magnitude & 0x3FF) << 13);
    if (magnitude < 0x400)
        return float_of(sign | bits_of(static_cast<float>(magnitude) * 0x1p-24f));
    return float_of(sign | ((magnitude << 13) + (112u << 23)));
}

inline void from_float(float* to, float x) { *to = x; }
inline void from_float(double* to, double x) { *to = x; }
// To nearest, ties to even; NaNs are made quiet so that rounding cannot carry one to infinity.
inline void from_float(Bfloat16* to, float x) {
    const uint32_t bits = bits_of(x);
    const uint32_t rounded = x != x ? bits | 0x00400000 : bits + 0x7FFF + ((bits >> 16) & 1);
    to->bits = static_cast<uint16_t>(rounded >> 16);
}
inline void from_float(Float16* to, float x) {
    const uint32_t sign = bits_of(x) >> 16 & 0x8000, magnitude = bits_of(x) & 0x7FFFFFFF;
    uint32_t rounded;
    if (magnitude > 0x7F800000) {
        rounded = 0x7E00 | (magnitude >> 13 & 0x3FF);
    } else if (magnitude >= 0x477FF000) {  // 65520, which rounds to 65536: too large
        rounded = 0x7C00;
    } else if (magnitude < 0x38800000) {
        // Below 2^-14 the spacing is 2^-24; adding 0.5 lets the adder of floats, whose spacing
        // there is 2^-24 too, do the rounding.
        rounded = bits_of(float_of(magnitude) + 0.5f) - bits_of(0.5f);
    } else {
        rounded = (magnitude - 0x38000000 + 0xFFF + (magnitude >> 13 & 1)) >> 13;
    }
    to->bits = static_cast<uint16_t>(sign | rounded);
}

template <class T>
inline Floats load(const T* from) {
    return Floats{to_float(from[0]), to_float(from[1]), to_float(from[2]), to_float(from[3])};
}
inline Doubles load(const double* from) { return Doubles{from[0], from[1]}; }

template <class T>
inline void store(T* to, Floats v) {
    for (int i = 0; i < 4; ++i) from_float(to + i, v[i]);
}
inline void store(double* to, Doubles v) {
    to[0] = v[0];
    to[1] = v[1];
}

inline uint64_t bits_from(const Kept& kept, int first) {
    return (first < 64 ? kept.lo : kept.hi) >> (first & 63);
}

inline Floats select(const Kept& kept, int j, Floats v) {
    const Integers bit = {1, 2, 4, 8};
    const Integers all = static_cast<int32_t>(bits_from(kept, 4 * j)) - Integers{};
    return reinterpret_cast<Floats>(((all & bit) == bit) & reinterpret_cast<Integers>(v));
}
inline Doubles select(const Kept& kept, int j, Doubles v) {
    const LongIntegers bit = {1, 2};
    const LongIntegers all = static_cast<int64_t>(bits_from(kept, 2 * j)) - LongIntegers{};
    return reinterpret_cast<Doubles>(((all & bit) == bit) & reinterpret_cast<LongIntegers>(v));
}

}  // namespace
}  // namespace redrop
