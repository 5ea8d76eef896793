// 8 floats in an AVX register, with FMA. Include through attention_vector.h.
#pragma once

#include "intrinsics.h"

namespace redrop {
namespace {

constexpr int vector_width = 8;
constexpr int tile_rows = 6, tile_vectors = 2;  // 12 of 16 registers accumulate

struct Vector {
    __m256 v;
};

inline Vector load(const float* p) { return {_mm256_loadu_ps(p)}; }
inline void store(float* p, Vector a) { _mm256_storeu_ps(p, a.v); }
inline Vector splat(float x) { return {_mm256_set1_ps(x)}; }
inline Vector zeros() { return {_mm256_setzero_ps()}; }
inline Vector operator+(Vector a, Vector b) { return {_mm256_add_ps(a.v, b.v)}; }
inline Vector operator-(Vector a, Vector b) { return {_mm256_sub_ps(a.v, b.v)}; }
inline Vector operator*(Vector a, Vector b) { return {_mm256_mul_ps(a.v, b.v)}; }
inline Vector fma(Vector a, Vector b, Vector c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
// A NaN in b comes through.
inline Vector larger(Vector a, Vector b) { return {_mm256_max_ps(a.v, b.v)}; }

inline float sum(Vector a) {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_shuffle_ps(s, s, 1)));
}
inline float largest(Vector a) {
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_shuffle_ps(s, s, 1)));
}

inline __m256 lane_mask(uint32_t bits) {
    const __m256i bit = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    const __m256i all = _mm256_set1_epi32(static_cast<int>(bits));
    return _mm256_castsi256_ps(_mm256_cmpeq_epi32(_mm256_and_si256(all, bit), bit));
}
// Lane i is a[i] where bit i is set, else b[i] (or zero).
inline Vector select(uint32_t bits, Vector a, Vector b) {
    return {_mm256_blendv_ps(b.v, a.v, lane_mask(bits))};
}
inline Vector select(uint32_t bits, Vector a) { return {_mm256_and_ps(a.v, lane_mask(bits))}; }

inline Vector round_to_integer(Vector a) {
    return {_mm256_round_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
// a * 2^n, and zero where `x` lies below `floor`; NaN stays NaN. n >= -126 wherever x is not below.
inline Vector scale_or_zero(Vector a, Vector n, Vector x, float floor) {
    const __m256i power = _mm256_slli_epi32(
        _mm256_add_epi32(_mm256_cvtps_epi32(n.v), _mm256_set1_epi32(127)), 23);
    const __m256 live = _mm256_cmp_ps(x.v, _mm256_set1_ps(floor), _CMP_NLT_UQ);
    // A NaN makes a power that may be anything; the sum puts it back.
    const __m256 scaled = _mm256_mul_ps(a.v, _mm256_castsi256_ps(power));
    const __m256 is_nan = _mm256_cmp_ps(x.v, x.v, _CMP_UNORD_Q);
    return {_mm256_and_ps(live, _mm256_blendv_ps(scaled, x.v, is_nan))};
}

inline Vector load_bfloat16(const uint16_t* p) {
    const __m128i narrow = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    const __m256i wide = _mm256_cvtepu16_epi32(narrow);
    return {_mm256_castsi256_ps(_mm256_slli_epi32(wide, 16))};
}

}  // namespace
}  // namespace redrop
