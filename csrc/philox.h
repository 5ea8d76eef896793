// Philox4x32-10, the counter-based generator behind every mask.
//
// Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
// The constants stand here once for all of C++.
//
// Everything in these headers lives in an anonymous namespace: each instruction set compiles its
// own copy, and the linker can never hand one set's code to a machine that lacks it.
#pragma once

#include <cstdint>

namespace redrop {
namespace {

// Table 2 of the paper: multipliers for four 32-bit words, and the Weyl increments of the key.
constexpr uint32_t philox_m0 = 0xD2511F53;
constexpr uint32_t philox_m1 = 0xCD9E8D57;
constexpr uint32_t philox_w0 = 0x9E3779B9;
constexpr uint32_t philox_w1 = 0xBB67AE85;
constexpr int philox_rounds = 10;

struct Words {
    uint32_t w[4];
};

inline uint32_t high_word(uint64_t product) { return static_cast<uint32_t>(product >> 32); }
inline uint32_t low_word(uint64_t product) { return static_cast<uint32_t>(product); }

// Key word 0 is the low half of the 64-bit key.
inline Words philox4x32_10(uint64_t key, Words counter) {
    uint32_t k0 = low_word(key), k1 = high_word(key);
    Words c = counter;
    for (int round = 0; round < philox_rounds; ++round) {
        const uint64_t p0 = static_cast<uint64_t>(philox_m0) * c.w[0];
        const uint64_t p1 = static_cast<uint64_t>(philox_m1) * c.w[2];
        c = Words{{high_word(p1) ^ c.w[1] ^ k0, low_word(p1), high_word(p0) ^ c.w[3] ^ k1,
                   low_word(p0)}};
        k0 += philox_w0;
        k1 += philox_w1;
    }
    return c;
}

// The first two rounds of all calls that share (plane, row, tag). Only word 0 of the counter then
// differs between calls, so half of the multiplications of rounds 1 and 2 have one known result:
//   round 1:  c2 = high(m0 * group) ^ c2_key,  c3 = low(m0 * group)
//   round 2:  c0 = high(m1 * c2) ^ c0_key,  c1 = low(m1 * c2),  c2 = c3 ^ c3_key,  c3 = c3_last
struct RowStart {
    uint32_t c2_key, c0_key, c3_key, c3_last;
};

inline RowStart row_start(uint64_t key, uint32_t plane, uint32_t row, uint32_t tag) {
    const uint32_t k0 = low_word(key), k1 = high_word(key);
    const uint64_t p1 = static_cast<uint64_t>(philox_m1) * plane;
    const uint64_t q0 = static_cast<uint64_t>(philox_m0) * (high_word(p1) ^ row ^ k0);
    return RowStart{tag ^ k1, low_word(p1) ^ (k0 + philox_w0), high_word(q0) ^ (k1 + philox_w1),
                    low_word(q0)};
}

}  // namespace
}  // namespace redrop
