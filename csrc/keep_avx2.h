// The keep decision with AVX2: 8 Philox calls side by side, twice. Include through keep.h.
//
// As in keep_avx512.h a call lives in a 64-bit lane of which the low half counts. Unpacking and
// packing both work on 128-bit halves; here their two interleavings cancel out.
#pragma once

#include "intrinsics.h"

namespace redrop {
namespace {

// Four calls; in each 64-bit lane only the low word counts.
struct PhiloxLanes {
    __m256i c0, c1, c2, c3;
};

inline __m256i lanes(uint32_t word) { return _mm256_set1_epi64x(static_cast<int64_t>(word)); }

[[gnu::always_inline]] inline void philox_round(PhiloxLanes& s, __m256i k0, __m256i k1) {
    const __m256i p0 = _mm256_mul_epu32(s.c0, lanes(philox_m0));
    const __m256i p1 = _mm256_mul_epu32(s.c2, lanes(philox_m1));
    s.c0 = _mm256_xor_si256(_mm256_xor_si256(_mm256_srli_epi64(p1, 32), s.c1), k0);
    s.c1 = p1;
    s.c2 = _mm256_xor_si256(_mm256_xor_si256(_mm256_srli_epi64(p0, 32), s.c3), k1);
    s.c3 = p0;
}

[[gnu::always_inline]] inline void philox_rounds_from(int first, uint64_t key, PhiloxLanes& a,
                                                      PhiloxLanes& b) {
    for (int round = first; round < philox_rounds; ++round) {
        const uint32_t r = static_cast<uint32_t>(round);
        const __m256i k0 = lanes(low_word(key) + r * philox_w0);
        const __m256i k1 = lanes(high_word(key) + r * philox_w1);
        philox_round(a, k0, k1);
        philox_round(b, k0, k1);
    }
}

// Rounds 1 and 2 of a whole row; see RowStart.
[[gnu::always_inline]] inline PhiloxLanes begin_row(const RowStart& start, __m256i group) {
    const __m256i p0 = _mm256_mul_epu32(group, lanes(philox_m0));
    const __m256i c2 = _mm256_xor_si256(_mm256_srli_epi64(p0, 32), lanes(start.c2_key));
    const __m256i p1 = _mm256_mul_epu32(c2, lanes(philox_m1));
    return PhiloxLanes{_mm256_xor_si256(_mm256_srli_epi64(p1, 32), lanes(start.c0_key)), p1,
                       _mm256_xor_si256(p0, lanes(start.c3_key)), lanes(start.c3_last)};
}

struct Bits32 {
    uint32_t kept, ties;
};

inline __m256i low_words(__m256i even, __m256i odd) {
    return _mm256_blend_epi32(even, _mm256_shuffle_epi32(odd, 0xA0), 0xAA);
}

// 32 columns of four calls: `first` holds calls 0 and 2, `second` calls 1 and 3, a half each, and
// the packed bytes are first-low second-low first-high second-high, which is calls 0 1 2 3.
[[gnu::always_inline]] inline Bits32 decide32(const PhiloxLanes& s, __m256i limit) {
    const __m256i w01 = low_words(s.c0, s.c1), w23 = low_words(s.c2, s.c3);
    const __m256i first = _mm256_unpacklo_epi64(w01, w23);
    const __m256i second = _mm256_unpackhi_epi64(w01, w23);
    // Unsigned a >= b, which AVX2 does not have, is max(a, b) == a.
    const __m256i kept = _mm256_packs_epi16(
        _mm256_cmpeq_epi16(_mm256_max_epu16(first, limit), first),
        _mm256_cmpeq_epi16(_mm256_max_epu16(second, limit), second));
    const __m256i ties = _mm256_packs_epi16(_mm256_cmpeq_epi16(first, limit),
                                            _mm256_cmpeq_epi16(second, limit));
    return Bits32{static_cast<uint32_t>(_mm256_movemask_epi8(kept)),
                  static_cast<uint32_t>(_mm256_movemask_epi8(ties))};
}

struct Bits64 {
    uint64_t kept, ties;
};

[[gnu::always_inline]] inline Bits64 decide64(const PhiloxLanes& a, const PhiloxLanes& b,
                                              uint32_t threshold) {
    const __m256i limit = _mm256_set1_epi16(static_cast<int16_t>(threshold >> 16));
    const Bits32 low = decide32(a, limit), high = decide32(b, limit);
    return Bits64{low.kept | static_cast<uint64_t>(high.kept) << 32,
                  low.ties | static_cast<uint64_t>(high.ties) << 32};
}

inline __m256i lane_offsets() { return _mm256_setr_epi64x(0, 1, 2, 3); }

[[gnu::always_inline]] inline Bits64 keep64(const RowRule& rule, uint32_t group) {
    const __m256i at = _mm256_add_epi64(lanes(group), lane_offsets());
    PhiloxLanes a = begin_row(rule.start, at);
    PhiloxLanes b = begin_row(rule.start, _mm256_add_epi64(at, lanes(4)));
    philox_rounds_from(2, rule.key, a, b);
    return decide64(a, b, rule.threshold);
}

[[gnu::always_inline]] inline Keep128 keep128(const RowRule& rule, uint32_t group) {
    const Bits64 low = keep64(rule, group), high = keep64(rule, group + 8);
    const Keep128 kept{low.kept, high.kept};
    if (__builtin_expect((low.ties | high.ties) != 0 && (rule.threshold & 0xFFFF) != 0, 0))
        return settle_row_ties(kept, Keep128{low.ties, high.ties}, rule, group);
    return kept;
}

inline __m256i load_lanes(const uint32_t* four) {
    return _mm256_cvtepu32_epi64(_mm_loadu_si128(reinterpret_cast<const __m128i*>(four)));
}

inline Bits64 keep64(uint64_t key, uint32_t threshold, const uint32_t* group, const uint32_t* row,
                     const uint32_t* plane) {
    const __m256i tag = _mm256_setzero_si256();
    PhiloxLanes a{load_lanes(group), load_lanes(row), load_lanes(plane), tag};
    PhiloxLanes b{load_lanes(group + 4), load_lanes(row + 4), load_lanes(plane + 4), tag};
    philox_rounds_from(0, key, a, b);
    return decide64(a, b, threshold);
}

[[gnu::always_inline]] inline Keep128 keep_groups(uint64_t key, uint32_t threshold,
                                                  const Groups16& at) {
    const Bits64 low = keep64(key, threshold, at.group, at.row, at.plane);
    const Bits64 high = keep64(key, threshold, at.group + 8, at.row + 8, at.plane + 8);
    const Keep128 kept{low.kept, high.kept};
    if (__builtin_expect((low.ties | high.ties) != 0 && (threshold & 0xFFFF) != 0, 0))
        return settle_ties(kept, Keep128{low.ties, high.ties}, key, threshold, at);
    return kept;
}

}  // namespace
}  // namespace redrop
