// keep128 and keep_groups without any intrinsics. Include through keep.h.
#pragma once

namespace redrop {
namespace {

inline Keep128 keep_groups(uint64_t key, uint32_t threshold, const Groups16& at) {
    uint64_t kept[2] = {0, 0};
    for (int g = 0; g < 16; ++g) {
        const uint64_t bits = keep8(key, threshold, at.plane[g], at.row[g], at.group[g]);
        kept[g >> 3] |= bits << (8 * (g & 7));
    }
    return Keep128{kept[0], kept[1]};
}

inline Keep128 keep128(const RowRule& rule, uint32_t group) {
    uint64_t kept[2] = {0, 0};
    for (uint32_t g = 0; g < 16; ++g) {
        const uint64_t bits = keep8(rule.key, rule.threshold, rule.plane, rule.row, group + g);
        kept[g >> 3] |= bits << (8 * (g & 7));
    }
    return Keep128{kept[0], kept[1]};
}

}  // namespace
}  // namespace redrop
