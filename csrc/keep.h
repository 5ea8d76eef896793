// The keep decision (SPEC "Decision"): element (plane, row, col) is dropped iff u < T, where
// u = high << 16 | low, and high and low are half-word (col & 7) of
// philox(key, counter = (col >> 3, row, plane, tag)) with tag 0 and tag 1.
//
// A *group* is the 8 consecutive columns that one Philox call decides: group = col >> 3.
// The two calls everybody uses, in the best version for the instruction set this file is
// compiled for:
//   keep128(rule, group)   16 consecutive groups of the row of `rule`
//   keep_groups(...)       16 groups from anywhere
// keep_row is keep128 in the form that loops over vectors like best: `Kept`. RowRun<n> is n of them
// side by side, 16 * n groups, which AVX-512 does faster than one after the other.
// Thresholds are below 2^32 here: p = 1 never reaches a kernel.
#pragma once

#include <cstdint>

#include "philox.h"

namespace redrop {
namespace {

// Bit i says that column 8*group + i is kept (lo: columns 0..63, hi: 64..127).
struct Keep128 {
    uint64_t lo, hi;
};

// All that is common to the elements of one row; cheap to make (two multiplications).
struct RowRule {
    uint64_t key;
    uint32_t threshold, plane, row;
    RowStart start;
};

inline RowRule row_rule(uint64_t key, uint32_t threshold, uint32_t plane, uint32_t row) {
    return RowRule{key, threshold, plane, row, row_start(key, plane, row, 0)};
}

// Where 16 groups stand; they need not have anything in common.
struct Groups16 {
    uint32_t group[16], row[16], plane[16];
};

inline uint32_t half_word(const Words& words, int index) {
    return (words.w[index >> 1] >> (16 * (index & 1))) & 0xFFFF;
}

// The 8 decisions of one group, written as the definition reads.
inline uint32_t keep8(uint64_t key, uint32_t threshold, uint32_t plane, uint32_t row,
                      uint32_t group) {
    const Words high = philox4x32_10(key, Words{{group, row, plane, 0}});
    const uint32_t threshold_high = threshold >> 16, threshold_low = threshold & 0xFFFF;
    uint32_t kept = 0, ties = 0;
    for (int i = 0; i < 8; ++i) {
        const uint32_t h = half_word(high, i);
        kept |= static_cast<uint32_t>(h >= threshold_high) << i;
        ties |= static_cast<uint32_t>(h == threshold_high) << i;
    }
    if (ties != 0 && threshold_low != 0) {
        const Words low = philox4x32_10(key, Words{{group, row, plane, 1}});
        for (int i = 0; i < 8; ++i) {
            const uint32_t below = half_word(low, i) < threshold_low;
            kept &= ~(below << i & ties);
        }
    }
    return kept;
}

// The rare end of a decision: `ties` are the columns whose high half-word equals T >> 16, so that
// the low one decides. About one vector of 128 columns in 512 comes here.
[[gnu::cold, gnu::noinline]] inline uint64_t drop_lost_ties(uint64_t kept, uint64_t ties,
                                                            uint64_t key, uint32_t threshold,
                                                            const uint32_t* plane,
                                                            const uint32_t* row,
                                                            const uint32_t* group) {
    for (int g = 0; g < 8; ++g) {
        const uint64_t group_bits = static_cast<uint64_t>(0xFF) << (8 * g);
        if ((ties & group_bits) == 0) continue;
        const uint64_t decided = keep8(key, threshold, plane[g], row[g], group[g]);
        kept = (kept & ~group_bits) | decided << (8 * g);
    }
    return kept;
}

[[gnu::cold, gnu::noinline]] inline Keep128 settle_ties(Keep128 kept, Keep128 ties, uint64_t key,
                                                        uint32_t threshold, const Groups16& at) {
    return Keep128{
        drop_lost_ties(kept.lo, ties.lo, key, threshold, at.plane, at.row, at.group),
        drop_lost_ties(kept.hi, ties.hi, key, threshold, at.plane + 8, at.row + 8, at.group + 8)};
}

[[gnu::cold, gnu::noinline]] inline Keep128 settle_row_ties(Keep128 kept, Keep128 ties,
                                                            const RowRule& rule, uint32_t group) {
    Groups16 at;
    for (uint32_t g = 0; g < 16; ++g) {
        at.group[g] = group + g;
        at.row[g] = rule.row;
        at.plane[g] = rule.plane;
    }
    return settle_ties(kept, ties, rule.key, rule.threshold, at);
}

}  // namespace
}  // namespace redrop

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#define REDROP_AVX512 1
#include "keep_avx512.h"
#elif defined(__AVX2__)
#define REDROP_AVX2 1
#include "keep_avx2.h"
#else
#include "keep_portable.h"
#endif

namespace redrop {
namespace {

#if !defined(REDROP_AVX512)
using Kept = Keep128;
inline Keep128 to_bits(const Kept& kept) { return kept; }
inline Kept from_bits(Keep128 kept) { return kept; }
inline Kept keep_row(const RowRule& rule, uint32_t group) { return keep128(rule, group); }

template <int n>
struct RowRun {
    const RowRule& rule;
    uint32_t group;

    RowRun(const RowRule& r, uint32_t g) : rule(r), group(g) {}
    Kept kept(int i) const { return keep_row(rule, group + 16 * static_cast<uint32_t>(i)); }
};
#endif

inline Keep128 keep128(uint64_t key, uint32_t threshold, uint32_t plane, uint32_t row,
                       uint32_t group) {
    return keep128(row_rule(key, threshold, plane, row), group);
}

}  // namespace
}  // namespace redrop
