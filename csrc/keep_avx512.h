// The keep decision with AVX-512 (F, BW, DQ, VL): 16 Philox calls side by side. Include through
// keep.h.
//
// A call lives in a 64-bit lane of which the low half counts: one multiplication then leaves the
// low word in place and the high word one shift away, and no lane has to be woven into another.
// Lanes hold the groups in the order 0 4 1 5 2 6 3 7, so that the final unpacking puts whole
// groups, and with them columns, in rising order.
#pragma once

#include "intrinsics.h"

namespace redrop {
namespace {

// Keep128 as mask registers, for loops that want lane masks and no detour through integers:
// m[j] bit i is column 8*group + 32*j + i.
struct Kept {
    __mmask32 m[4];
};

// Eight calls; in each 64-bit lane only the low word counts.
struct PhiloxLanes {
    __m512i c0, c1, c2, c3;
};

// The high half-words of 128 columns in column order, 32 to a vector.
struct HalfWords {
    __m512i v[4];
};

inline __m512i xor3(__m512i a, __m512i b, __m512i c) {
    return _mm512_ternarylogic_epi64(a, b, c, 0x96);
}

inline __m512i lanes(uint32_t word) { return _mm512_set1_epi64(static_cast<int64_t>(word)); }

[[gnu::always_inline]] inline void philox_round(PhiloxLanes& s, __m512i k0, __m512i k1) {
    const __m512i p0 = _mm512_mul_epu32(s.c0, lanes(philox_m0));
    const __m512i p1 = _mm512_mul_epu32(s.c2, lanes(philox_m1));
    s.c0 = xor3(_mm512_srli_epi64(p1, 32), s.c1, k0);
    s.c1 = p1;
    s.c2 = xor3(_mm512_srli_epi64(p0, 32), s.c3, k1);
    s.c3 = p0;
}

template <int n>
[[gnu::always_inline]] inline void philox_rounds_from(int first, uint64_t key,
                                                      PhiloxLanes (&s)[n]) {
    for (int round = first; round < philox_rounds; ++round) {
        const uint32_t r = static_cast<uint32_t>(round);
        const __m512i k0 = lanes(low_word(key) + r * philox_w0);
        const __m512i k1 = lanes(high_word(key) + r * philox_w1);
        for (int i = 0; i < n; ++i) philox_round(s[i], k0, k1);
    }
}

// Rounds 1 and 2 of a whole row; see RowStart.
[[gnu::always_inline]] inline PhiloxLanes begin_row(const RowStart& start, __m512i group) {
    const __m512i p0 = _mm512_mul_epu32(group, lanes(philox_m0));
    const __m512i c2 = _mm512_xor_si512(_mm512_srli_epi64(p0, 32), lanes(start.c2_key));
    const __m512i p1 = _mm512_mul_epu32(c2, lanes(philox_m1));
    return PhiloxLanes{_mm512_xor_si512(_mm512_srli_epi64(p1, 32), lanes(start.c0_key)), p1,
                       _mm512_xor_si512(p0, lanes(start.c3_key)), lanes(start.c3_last)};
}

// Four words per lane become eight half-words in a row: (w0,w1) and (w2,w3) share a 64-bit lane,
// then both share 128 bits, which is one group.
[[gnu::always_inline]] inline void order_columns(const PhiloxLanes& s, __m512i& first,
                                                 __m512i& second) {
    const __m512i w01 = _mm512_mask_shuffle_epi32(s.c0, 0xAAAA, s.c1, _MM_PERM_CCAA);
    const __m512i w23 = _mm512_mask_shuffle_epi32(s.c2, 0xAAAA, s.c3, _MM_PERM_CCAA);
    first = _mm512_unpacklo_epi64(w01, w23);
    second = _mm512_unpackhi_epi64(w01, w23);
}

[[gnu::always_inline]] inline HalfWords order_columns(const PhiloxLanes& a, const PhiloxLanes& b) {
    HalfWords out;
    order_columns(a, out.v[0], out.v[1]);
    order_columns(b, out.v[2], out.v[3]);
    return out;
}

inline Keep128 to_bits(const Kept& k) {
    return Keep128{k.m[0] | static_cast<uint64_t>(k.m[1]) << 32,
                   k.m[2] | static_cast<uint64_t>(k.m[3]) << 32};
}

inline Kept from_bits(Keep128 k) {
    return Kept{{static_cast<__mmask32>(k.lo), static_cast<__mmask32>(k.lo >> 32),
                 static_cast<__mmask32>(k.hi), static_cast<__mmask32>(k.hi >> 32)}};
}

// high >= T >> 16 decides all but the ties; `settle` is called only if there are any.
template <class Settle>
[[gnu::always_inline]] inline Kept decide(const HalfWords& high, uint32_t threshold,
                                          Settle settle) {
    const __m512i limit = _mm512_set1_epi16(static_cast<int16_t>(threshold >> 16));
    Kept kept, ties;
    for (int j = 0; j < 4; ++j) {
        kept.m[j] = _mm512_cmpge_epu16_mask(high.v[j], limit);
        ties.m[j] = _mm512_cmpeq_epi16_mask(high.v[j], limit);
    }
    const bool any_tie = (ties.m[0] | ties.m[1] | ties.m[2] | ties.m[3]) != 0;
    if (__builtin_expect(any_tie && (threshold & 0xFFFF) != 0, 0))
        return from_bits(settle(to_bits(kept), to_bits(ties)));
    return kept;
}

inline __m512i lane_offsets() { return _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7); }

template <int n>
[[gnu::always_inline]] inline void start_row(const RowStart& start, uint32_t group,
                                             PhiloxLanes (&s)[n]) {
    const __m512i at = _mm512_add_epi64(lanes(group), lane_offsets());
    for (int i = 0; i < n; ++i)
        s[i] = begin_row(start, _mm512_add_epi64(at, lanes(8 * static_cast<uint32_t>(i))));
}

[[gnu::always_inline]] inline Kept decide_row(const RowRule& rule, uint32_t group,
                                              const PhiloxLanes& a, const PhiloxLanes& b) {
    return decide(order_columns(a, b), rule.threshold, [&](Keep128 kept, Keep128 ties) {
        return settle_row_ties(kept, ties, rule, group);
    });
}

[[gnu::always_inline]] inline Kept keep_row(const RowRule& rule, uint32_t group) {
    PhiloxLanes s[2];
    start_row(rule.start, group, s);
    philox_rounds_from(2, rule.key, s);
    return decide_row(rule, group, s[0], s[1]);
}

// Independent chains hide the multiplier's latency. On a Zen 5, ns for 128 columns: 16.1 with the
// two chains of keep_row, 12.8 with four, 10.5 with six, 11.4 with eight.
// There are 8 mask registers: a part is decided when it is wanted.
template <int n>
struct RowRun {
    const RowRule& rule;
    uint32_t group;
    PhiloxLanes s[2 * n];

    [[gnu::always_inline]] RowRun(const RowRule& r, uint32_t g) : rule(r), group(g) {
        start_row(rule.start, group, s);
        philox_rounds_from(2, rule.key, s);
    }
    [[gnu::always_inline]] Kept kept(int i) const {
        return decide_row(rule, group + 16 * static_cast<uint32_t>(i), s[2 * i], s[2 * i + 1]);
    }
};

[[gnu::always_inline]] inline Keep128 keep128(const RowRule& rule, uint32_t group) {
    return to_bits(keep_row(rule, group));
}

inline __m512i load_lanes(const uint32_t* eight) {
    const __m512i wide =
        _mm512_cvtepu32_epi64(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(eight)));
    return _mm512_permutexvar_epi64(lane_offsets(), wide);
}

[[gnu::always_inline]] inline Keep128 keep_groups(uint64_t key, uint32_t threshold,
                                                  const Groups16& at) {
    const __m512i tag = _mm512_setzero_si512();
    PhiloxLanes s[2] = {
        {load_lanes(at.group), load_lanes(at.row), load_lanes(at.plane), tag},
        {load_lanes(at.group + 8), load_lanes(at.row + 8), load_lanes(at.plane + 8), tag}};
    philox_rounds_from(0, key, s);
    const Kept kept =
        decide(order_columns(s[0], s[1]), threshold, [&](Keep128 kept_bits, Keep128 ties) {
            return settle_ties(kept_bits, ties, key, threshold, at);
        });
    return to_bits(kept);
}

}  // namespace
}  // namespace redrop
