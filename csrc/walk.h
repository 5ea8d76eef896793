// Brings keep decisions and elements together, for any layout. A kernel is an Operation:
//
//   in_step(), out_step()          memory step of the last dimension, in elements
//   whole(in, out, kept)           128 elements with their decisions, at these memory offsets
//   part(in, out, kept, n)         the same for the first n < 128
//   shared(in, out, n, is_kept)    n elements that share one decision
//
// Elements come in logical order from `begin` to `end`, so any split over threads gives the same.
#pragma once

#include "keep.h"
#include "layout.h"

namespace redrop {
namespace {

struct Rule {
    uint64_t key;
    uint32_t threshold;
};

inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

inline Kept drop_first_columns(Keep128 k, int n) {
    return from_bits(Keep128{k.lo >> n | k.hi << (64 - n), k.hi >> n});
}

// n consecutive columns of one row, the first of which need not begin a group.
template <class Operation>
[[gnu::always_inline]] inline void walk_row(const RowRule& rule, uint64_t col, int64_t in,
                                            int64_t out, int64_t n, Operation& operation) {
    uint32_t group = static_cast<uint32_t>(col >> 3);
    const int skipped = static_cast<int>(col & 7);
    if (skipped != 0) {
        const int64_t head = smaller(128 - skipped, n);
        operation.part(in, out, drop_first_columns(keep128(rule, group), skipped),
                       static_cast<int>(head));
        in += head * operation.in_step();
        out += head * operation.out_step();
        n -= head;
        group += 16;
    }
    for (; n >= 128; n -= 128, group += 16) {
        operation.whole(in, out, keep_row(rule, group));
        in += 128 * operation.in_step();
        out += 128 * operation.out_step();
    }
    if (n > 0) operation.part(in, out, keep_row(rule, group), static_cast<int>(n));
}

template <class Operation>
inline void walk_rows(const Layout& layout, const Rule& rule, Operation& operation, int64_t begin,
                      int64_t end) {
    const int64_t size = layout.dims[layout.ndim - 1].size;
    Cursor c(layout, begin);
    while (begin < end) {
        const int64_t n = smaller(size - c.at, end - begin);
        walk_row(row_rule(rule.key, rule.threshold, static_cast<uint32_t>(c.plane),
                          static_cast<uint32_t>(c.row)),
                 c.col + static_cast<uint64_t>(c.at), c.in_offset + c.at * operation.in_step(),
                 c.out_offset + c.at * operation.out_step(), n, operation);
        begin += n;
        c.next_run();
    }
}

template <class Operation>
inline void walk_shared(const Layout& layout, const Rule& rule, Operation& operation,
                        int64_t begin, int64_t end) {
    const int64_t size = layout.dims[layout.ndim - 1].size;
    Cursor c(layout, begin);
    while (begin < end) {
        const int64_t n = smaller(size - c.at, end - begin);
        const uint32_t group_bits =
            keep8(rule.key, rule.threshold, static_cast<uint32_t>(c.plane),
                  static_cast<uint32_t>(c.row), static_cast<uint32_t>(c.col >> 3));
        operation.shared(c.in_offset + c.at * operation.in_step(),
                         c.out_offset + c.at * operation.out_step(), n,
                         (group_bits >> (c.col & 7) & 1) != 0);
        begin += n;
        c.next_run();
    }
}

// Short rows one after another in memory: the groups of several rows share a vector.
struct Packing {
    Groups16 at;
    int first[16], count[16];  // of a group's 8 columns these belong to the tensor
    int elements;

    void collect(Cursor& c, int64_t size, int64_t left) {
        elements = 0;
        for (int g = 0; g < 16; ++g) {
            const uint64_t col = c.col + static_cast<uint64_t>(c.at);
            first[g] = static_cast<int>(col & 7);
            const int64_t here = smaller(8 - first[g], smaller(size - c.at, left - elements));
            count[g] = static_cast<int>(here);
            at.group[g] = static_cast<uint32_t>(col >> 3);
            at.row[g] = static_cast<uint32_t>(c.row);
            at.plane[g] = static_cast<uint32_t>(c.plane);
            elements += count[g];
            c.at += here;
            if (c.at == size) c.next_run();
        }
    }

    // The decisions of `elements` elements without the gaps between them.
    Keep128 close_gaps(Keep128 kept) const {
        uint64_t out[3] = {0, 0, 0};
        int to = 0;
        for (int g = 0; g < 16; ++g) {
            const uint64_t group_bits = (g < 8 ? kept.lo : kept.hi) >> (8 * (g & 7));
            const uint64_t bits = (group_bits >> first[g]) & ((1u << count[g]) - 1);
            out[to >> 6] |= bits << (to & 63);
            // Two shifts: one by 64 would be undefined.
            out[(to >> 6) + 1] |= bits >> 1 >> (63 - (to & 63));
            to += count[g];
        }
        return Keep128{out[0], out[1]};
    }
};

template <class Operation>
inline void walk_packed(const Layout& layout, const Rule& rule, Operation& operation,
                        int64_t begin, int64_t end) {
    const int64_t size = layout.dims[layout.ndim - 1].size;
    Cursor c(layout, begin);
    Packing packing;
    while (begin < end) {
        packing.collect(c, size, end - begin);
        const Keep128 kept = keep_groups(rule.key, rule.threshold, packing.at);
        if (packing.elements == 128)
            operation.whole(begin, begin, from_bits(kept));
        else
            operation.part(begin, begin, from_bits(packing.close_gaps(kept)), packing.elements);
        begin += packing.elements;
    }
}

// Row by row, 16 groups are computed even where a row ends earlier; packing pays for its
// bookkeeping when more than a third of them would be thrown away.
inline bool prefers_packing(const Layout& layout) {
    const int64_t size = layout.dims[layout.ndim - 1].size;
    const int64_t computed = (size + 127) / 128 * 128;
    return layout.ndim > 1 && size * 3 < computed * 2 && is_linear(layout);
}

template <class Operation>
inline void walk(const Layout& layout, const Rule& rule, Operation operation, int64_t begin,
                 int64_t end) {
    if (layout.dims[layout.ndim - 1].col_step == 0)
        walk_shared(layout, rule, operation, begin, end);
    else if (prefers_packing(layout))
        walk_packed(layout, rule, operation, begin, end);
    else
        walk_rows(layout, rule, operation, begin, end);
}

// Splits the elements over threads; boundaries fall on cache lines where the tensors begin on one.
template <class Operation>
inline void walk_parallel(const Layout& layout, const Rule& rule, Operation operation,
                          int threads) {
    const int64_t n = count_elements(layout);
    if (n == 0) return;
    if (threads <= 1) return walk(layout, rule, operation, 0, n);
    // Large tensors get more pieces than threads: a thread that is held up then loses less.
    const int64_t pieces = threads * (n >= (1 << 20) ? 8 : 1);
    const int64_t piece = ((n + pieces - 1) / pieces + 1023) / 1024 * 1024;
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
    for (int64_t begin = 0; begin < n; begin += piece)
        walk(layout, rule, operation, begin, smaller(begin + piece, n));
}

}  // namespace
}  // namespace redrop
