// What a row of scores may see, and what dropout keeps of it: 128 columns as bits.
#pragma once

#include "attention_plan.h"
#include "keep.h"

namespace redrop {
namespace {

using Bits128 = Keep128;

inline Bits128 first_bits(int64_t n) {
    const auto low = [](int64_t m) {
        return m <= 0 ? 0 : (m >= 64 ? ~uint64_t{0} : (uint64_t{1} << m) - 1);
    };
    return Bits128{low(n), low(n - 64)};
}

// The bits of one vector of a row that starts at column `at`, a multiple of the vector's width.
inline uint32_t bits_at(const Bits128& bits, int64_t at) {
    const uint64_t word = at < 64 ? bits.lo : bits.hi;
    return static_cast<uint32_t>(word >> (at & 63));
}

// One head's dropout, in the coordinates of the whole job.
struct HeadDropout {
    uint64_t key;
    uint32_t threshold, plane;
    int64_t query_offset, key_offset;
};

inline HeadDropout head_dropout(const AttentionParams& p, int64_t sample, int64_t head) {
    const int64_t plane = (p.sample_offset + sample) * p.heads_global + p.head_offset + head;
    return HeadDropout{p.dropout_key, p.threshold, static_cast<uint32_t>(plane), p.query_offset,
                       p.key_offset};
}

// The keep bits of a tile. All rows in one loop: what the rows share stays in registers.
[[gnu::noinline]] inline void keep_tile(const HeadDropout& dropout, int64_t query, int64_t rows,
                                        int64_t column, Bits128* kept) {
    const HeadDropout d = dropout;
    const uint64_t first = static_cast<uint64_t>(d.key_offset + column);
    const uint32_t group = static_cast<uint32_t>(first >> 3);
    const unsigned shift = first & 7;
    for (int64_t i = 0; i < rows; ++i) {
        const uint32_t row = static_cast<uint32_t>(d.query_offset + query + i);
        kept[i] = keep128(row_rule(d.key, d.threshold, d.plane, row), group);
    }
    if (__builtin_expect(shift == 0, 1)) return;
    // A window that begins inside a group: each row takes its last bits from the next call.
    for (int64_t i = 0; i < rows; ++i) {
        const uint32_t row = static_cast<uint32_t>(d.query_offset + query + i);
        const Bits128 next = keep128(row_rule(d.key, d.threshold, d.plane, row), group + 16);
        kept[i] = Bits128{kept[i].lo >> shift | kept[i].hi << (64 - shift),
                          kept[i].hi >> shift | next.lo << (64 - shift)};
    }
}

// One head's attn_mask.
template <class Element>
struct HeadMask {
    uintptr_t data;
    int64_t query_stride, key_stride;

    // Additive: `n` columns of a row as floats, filled up with zeros to a whole vector.
    void bias(int64_t query, int64_t column, int64_t n, float* to) const {
        const Element* from = reinterpret_cast<const Element*>(data) + query * query_stride;
        for (int64_t j = 0; j < n; ++j) to[j] = to_float(from[(column + j) * key_stride]);
        for (int64_t j = n; j < round_up(n, vector_width); ++j) to[j] = 0.0f;
    }

    // Boolean: `n` columns of a row, n <= 128.
    Bits128 attended(int64_t query, int64_t column, int64_t n) const {
        const uint8_t* from = reinterpret_cast<const uint8_t*>(data) + query * query_stride;
        uint64_t words[2] = {0, 0};
        int64_t j = 0;
        if (key_stride == 1)
            for (; j + 8 <= n; j += 8) {
                // Eight bytes of 0 or 1: the product gathers byte i into bit 56 + i.
                uint64_t bytes;
                __builtin_memcpy(&bytes, from + column + j, sizeof bytes);
                words[j >> 6] |= (bytes * 0x0102040810204080) >> 56 << (j & 63);
            }
        for (; j < n; ++j)
            words[j >> 6] |= static_cast<uint64_t>(from[(column + j) * key_stride] != 0)
                             << (j & 63);
        return Bits128{words[0], words[1]};
    }
};

template <class Element>
HeadMask<Element> head_mask(const AttentionParams& p, int64_t b, int64_t h) {
    const int64_t size = p.mask_kind == static_cast<int>(AttentionMask::boolean)
                             ? 1
                             : static_cast<int64_t>(sizeof(Element));
    const int64_t start = (b * p.mask_batch + h * p.mask_head) * size;
    return HeadMask<Element>{p.mask + static_cast<uintptr_t>(start), p.mask_query, p.mask_key};
}

// Columns of a tile that a row may see: those before the row's end and attended by a boolean mask.
template <class Element>
inline Bits128 visible(const AttentionParams& p, const HeadMask<Element>& mask, int64_t query,
                       int64_t column, int64_t n) {
    if (p.mask_kind == static_cast<int>(AttentionMask::boolean))
        return mask.attended(query, column, n);
    return first_bits(n);
}

}  // namespace
}  // namespace redrop
