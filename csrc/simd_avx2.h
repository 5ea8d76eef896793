// 8 floats or 4 doubles in an AVX2 register, with FMA and F16C. Include through simd.h.
#pragma once

#include "intrinsics.h"

namespace redrop {
namespace {

typedef __m256 Floats;
typedef __m256d Doubles;

inline __m128i load8(const void* from) {
    return _mm_loadu_si128(static_cast<const __m128i*>(from));
}
inline void store8(void* to, __m128i v) { _mm_storeu_si128(static_cast<__m128i*>(to), v); }

// To nearest, ties to even. NaNs are made quiet so that rounding cannot carry one to infinity.
inline __m128i round_to_bfloat16(Floats v) {
    const __m256i bits = _mm256_castps_si256(v);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const __m256i rounded =
        _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7FFF)), odd);
    const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x00400000));
    const __m256i is_nan = _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q));
    const __m256i safe = _mm256_srli_epi32(_mm256_blendv_epi8(rounded, quiet, is_nan), 16);
    // Packing works within 128-bit halves; both halves' low parts are wanted.
    const __m256i packed = _mm256_packus_epi32(safe, safe);
    return _mm256_castsi256_si128(_mm256_permute4x64_epi64(packed, 0x08));
}

inline Floats load(const float* from) { return _mm256_loadu_ps(from); }
inline Floats load(const Bfloat16* from) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(load8(from)), 16));
}
inline Floats load(const Float16* from) { return _mm256_cvtph_ps(load8(from)); }
inline Doubles load(const double* from) { return _mm256_loadu_pd(from); }

inline void store(float* to, Floats v) { _mm256_storeu_ps(to, v); }
inline void store(Bfloat16* to, Floats v) { store8(to, round_to_bfloat16(v)); }
inline void store(Float16* to, Floats v) {
    store8(to, _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
inline void store(double* to, Doubles v) { _mm256_storeu_pd(to, v); }

// The 64 bits in which lane j * count stands, shifted so that it is bit 0.
inline int64_t bits_from(const Kept& kept, int first) {
    return static_cast<int64_t>((first < 64 ? kept.lo : kept.hi) >> (first & 63));
}

[[gnu::always_inline]] inline Floats select(const Kept& kept, int j, Floats v) {
    const __m256i bit = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    const __m256i all = _mm256_set1_epi32(static_cast<int32_t>(bits_from(kept, 8 * j)));
    const __m256i lane = _mm256_cmpeq_epi32(_mm256_and_si256(all, bit), bit);
    return _mm256_and_ps(_mm256_castsi256_ps(lane), v);
}
[[gnu::always_inline]] inline Doubles select(const Kept& kept, int j, Doubles v) {
    const __m256i bit = _mm256_setr_epi64x(1, 2, 4, 8);
    const __m256i all = _mm256_set1_epi64x(bits_from(kept, 4 * j));
    const __m256i lane = _mm256_cmpeq_epi64(_mm256_and_si256(all, bit), bit);
    return _mm256_and_pd(_mm256_castsi256_pd(lane), v);
}

}  // namespace
}  // namespace redrop
