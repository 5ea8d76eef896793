// 16 floats or 8 doubles in an AVX-512 register. Include through simd.h.
#pragma once

#include "intrinsics.h"

namespace redrop {
namespace {

typedef __m512 Floats;
typedef __m512d Doubles;

inline __mmask16 first16(int n) { return static_cast<__mmask16>((1u << n) - 1); }
inline __mmask8 first8(int n) { return static_cast<__mmask8>((1u << n) - 1); }

inline Floats widen_bfloat16(__m256i x) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16));
}

// To nearest, ties to even; VCVTNEPS2BF16 would flush subnormal numbers. NaNs are made quiet so
// that rounding cannot carry one to infinity.
inline __m256i round_to_bfloat16(Floats v) {
    const __m512i bits = _mm512_castps_si512(v);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i rounded =
        _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7FFF)), odd);
    const __m512i safe =
        _mm512_mask_or_epi32(rounded, _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q), bits,
                             _mm512_set1_epi32(0x00400000));
    return _mm512_cvtepi32_epi16(_mm512_srli_epi32(safe, 16));
}

// 32 bfloat16 as float32: even and odd ones are numbers once the other half is shifted or masked
// away, which is half the work of widening and narrowing.
struct Bfloat16Pair {
    __m512 even, odd;
};

inline __m512i odd_words() { return _mm512_set1_epi32(static_cast<int32_t>(0xFFFF0000)); }

inline Bfloat16Pair split_bfloat16(__m512i x) {
    return Bfloat16Pair{_mm512_castsi512_ps(_mm512_slli_epi32(x, 16)),
                        _mm512_castsi512_ps(_mm512_and_si512(x, odd_words()))};
}

// As round_to_bfloat16, without its care for NaNs: their low 16 bits have to be zero, so that no
// rounding can carry. They are where all that went in came from bfloat16.
inline __m512i join_bfloat16(const Bfloat16Pair& y) {
    const __m512i one = _mm512_set1_epi32(1), half = _mm512_set1_epi32(0x7FFF);
    const auto round = [&](__m512 v) {
        const __m512i bits = _mm512_castps_si512(v);
        const __m512i tie = _mm512_and_si512(_mm512_srli_epi32(bits, 16), one);
        return _mm512_add_epi32(_mm512_add_epi32(bits, half), tie);
    };
    const __m512i low = _mm512_srli_epi32(round(y.even), 16);
    return _mm512_ternarylogic_epi32(odd_words(), round(y.odd), low, 0xCA);
}

inline __m256i round_to_float16(Floats v) {
    return _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

inline __m256i load16(const void* from) {
    return _mm256_loadu_si256(static_cast<const __m256i*>(from));
}
inline void store16(void* to, __m256i v) { _mm256_storeu_si256(static_cast<__m256i*>(to), v); }

inline Floats load(const float* from) { return _mm512_loadu_ps(from); }
inline Floats load(const Bfloat16* from) { return widen_bfloat16(load16(from)); }
inline Floats load(const Float16* from) { return _mm512_cvtph_ps(load16(from)); }
inline Doubles load(const double* from) { return _mm512_loadu_pd(from); }

inline void store(float* to, Floats v) { _mm512_storeu_ps(to, v); }
inline void store(Bfloat16* to, Floats v) { store16(to, round_to_bfloat16(v)); }
inline void store(Float16* to, Floats v) { store16(to, round_to_float16(v)); }
inline void store(double* to, Doubles v) { _mm512_storeu_pd(to, v); }

inline Floats load_first(const float* from, int n) {
    return _mm512_maskz_loadu_ps(first16(n), from);
}
inline Floats load_first(const Bfloat16* from, int n) {
    return widen_bfloat16(_mm256_maskz_loadu_epi16(first16(n), from));
}
inline Floats load_first(const Float16* from, int n) {
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(first16(n), from));
}
inline Doubles load_first(const double* from, int n) {
    return _mm512_maskz_loadu_pd(first8(n), from);
}

inline void store_first(float* to, Floats v, int n) { _mm512_mask_storeu_ps(to, first16(n), v); }
inline void store_first(Bfloat16* to, Floats v, int n) {
    _mm256_mask_storeu_epi16(to, first16(n), round_to_bfloat16(v));
}
inline void store_first(Float16* to, Floats v, int n) {
    _mm256_mask_storeu_epi16(to, first16(n), round_to_float16(v));
}
inline void store_first(double* to, Doubles v, int n) { _mm512_mask_storeu_pd(to, first8(n), v); }

[[gnu::always_inline]] inline Floats select(const Kept& kept, int j, Floats v) {
    return _mm512_maskz_mov_ps(static_cast<__mmask16>(kept.m[j >> 1] >> (16 * (j & 1))), v);
}
[[gnu::always_inline]] inline Doubles select(const Kept& kept, int j, Doubles v) {
    return _mm512_maskz_mov_pd(static_cast<__mmask8>(kept.m[j >> 2] >> (8 * (j & 3))), v);
}

}  // namespace
}  // namespace redrop
