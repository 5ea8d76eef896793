// 16 floats in an AVX-512 register. Include through attention_vector.h.
#pragma once

#include "intrinsics.h"

namespace redrop {
namespace {

constexpr int vector_width = 16;
constexpr int tile_rows = 6, tile_vectors = 4;  // 24 of 32 registers accumulate

struct Vector {
    __m512 v;
};

inline Vector load(const float* p) { return {_mm512_loadu_ps(p)}; }
inline void store(float* p, Vector a) { _mm512_storeu_ps(p, a.v); }
inline Vector splat(float x) { return {_mm512_set1_ps(x)}; }
inline Vector zeros() { return {_mm512_setzero_ps()}; }
inline Vector operator+(Vector a, Vector b) { return {_mm512_add_ps(a.v, b.v)}; }
inline Vector operator-(Vector a, Vector b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline Vector operator*(Vector a, Vector b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline Vector fma(Vector a, Vector b, Vector c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
// A NaN in b comes through.
inline Vector larger(Vector a, Vector b) { return {_mm512_max_ps(a.v, b.v)}; }
inline float sum(Vector a) { return _mm512_reduce_add_ps(a.v); }
inline float largest(Vector a) { return _mm512_reduce_max_ps(a.v); }

// Lane i is a[i] where bit i is set, else b[i] (or zero).
inline Vector select(uint32_t bits, Vector a, Vector b) {
    return {_mm512_mask_mov_ps(b.v, static_cast<__mmask16>(bits), a.v)};
}
inline Vector select(uint32_t bits, Vector a) {
    return {_mm512_maskz_mov_ps(static_cast<__mmask16>(bits), a.v)};
}

inline Vector round_to_integer(Vector a) {
    return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
// a * 2^n, and zero where `x` lies below `floor`; NaN stays NaN.
inline Vector scale_or_zero(Vector a, Vector n, Vector x, float floor) {
    const __mmask16 live = _mm512_cmp_ps_mask(x.v, _mm512_set1_ps(floor), _CMP_NLT_UQ);
    return {_mm512_maskz_scalef_ps(live, a.v, n.v)};
}

inline Vector load_bfloat16(const uint16_t* p) {
    const __m512i wide =
        _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
    return {_mm512_castsi512_ps(_mm512_slli_epi32(wide, 16))};
}

}  // namespace
}  // namespace redrop
