// 4 floats in GCC's and Clang's generic vectors: any machine. Include through attention_vector.h.
#pragma once

#include <cstring>

namespace redrop {
namespace {

constexpr int vector_width = 4;
constexpr int tile_rows = 4, tile_vectors = 2;  // 8 of 16 registers: products need a place too

typedef float Floats __attribute__((vector_size(16)));
typedef int32_t Integers __attribute__((vector_size(16)));

struct Vector {
    Floats v;
};

inline Vector load(const float* p) {
    Vector a;
    std::memcpy(&a, p, sizeof a);
    return a;
}
inline void store(float* p, Vector a) { std::memcpy(p, &a, sizeof a); }
inline Vector splat(float x) { return {Floats{x, x, x, x}}; }
inline Vector zeros() { return splat(0.0f); }
inline Vector operator+(Vector a, Vector b) { return {a.v + b.v}; }
inline Vector operator-(Vector a, Vector b) { return {a.v - b.v}; }
inline Vector operator*(Vector a, Vector b) { return {a.v * b.v}; }
inline Vector fma(Vector a, Vector b, Vector c) { return {a.v * b.v + c.v}; }

inline Floats pick(Integers mask, Floats a, Floats b) {
    return reinterpret_cast<Floats>((mask & reinterpret_cast<Integers>(a)) |
                                    (~mask & reinterpret_cast<Integers>(b)));
}
// A NaN in b comes through.
inline Vector larger(Vector a, Vector b) { return {pick(a.v > b.v, a.v, b.v)}; }
inline float sum(Vector a) { return (a.v[0] + a.v[2]) + (a.v[1] + a.v[3]); }
inline float largest(Vector a) {
    float top = a.v[0];
    for (int i = 1; i < vector_width; ++i) top = top > a.v[i] ? top : a.v[i];
    return top;
}

inline Integers lane_mask(uint32_t bits) {
    const Integers bit = {1, 2, 4, 8};
    const int32_t b = static_cast<int32_t>(bits);
    return (Integers{b, b, b, b} & bit) == bit;
}
// Lane i is a[i] where bit i is set, else b[i] (or zero).
inline Vector select(uint32_t bits, Vector a, Vector b) {
    return {pick(lane_mask(bits), a.v, b.v)};
}
inline Vector select(uint32_t bits, Vector a) { return select(bits, a, zeros()); }

// Adding 1.5 * 2^23 leaves no bits behind the point; good for |a| < 2^22.
constexpr float rounding_constant = 12582912.0f;
inline Vector round_to_integer(Vector a) {
    return (a + splat(rounding_constant)) - splat(rounding_constant);
}
// a * 2^n, and zero where `x` lies below `floor`; NaN stays NaN. n >= -126 wherever x is not below.
inline Vector scale_or_zero(Vector a, Vector n, Vector x, float floor) {
    const Floats shifted = n.v + (rounding_constant + 127.0f);
    const Floats power = reinterpret_cast<Floats>(reinterpret_cast<Integers>(shifted) << 23);
    const Floats scaled = pick(x.v == x.v, a.v * power, x.v);
    return {pick(x.v < splat(floor).v, zeros().v, scaled)};
}

inline Vector load_bfloat16(const uint16_t* p) {
    Integers bits;
    for (int i = 0; i < vector_width; ++i)
        bits[i] = static_cast<int32_t>(static_cast<uint32_t>(p[i]) << 16);
    return {reinterpret_cast<Floats>(bits)};
}

}  // namespace
}  // namespace redrop
