// Brings keep decisions and elements together, for any layout. A kernel is an Operation:
//
//   out                            pointer to the output
//   in_step(), out_step()          memory step of the last dimension, in elements
//   at_once                        how many times 128 columns to decide at once, 1 to 3
//   whole(in, out, kept)           128 elements with their decisions, at these memory offsets
//   part(in, out, kept, n)         the same for the first n < 128
//   shared(in, out, n, is_kept)    n elements that share one decision
//
// More at once are decided faster (RowRun), but then come longer bursts of loads and stores, and a
// core has only some two dozen buffers for lines on their way: dropout of float32 from memory takes
// twice as long with three as with two.
//
// An operation that decides first (`decides_first`) splits `whole` into fetch(in) and
// apply(in, out, kept): what a burst reads is asked for while its decisions are made, none of which
// then waits behind a load.
//
// Elements come in logical order from `begin` to `end`, so any split over threads gives the same.
#pragma once

#include "keep.h"
#include "layout.h"
#include "parallel.h"

namespace redrop {
namespace {

struct Rule {
    uint64_t key;
    uint32_t threshold;
};

inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

inline Kept all_alike(bool is_kept) {
    const uint64_t bits = is_kept ? ~UINT64_C(0) : 0;
    return from_bits(Keep128{bits, bits});
}

inline Kept drop_first_columns(Keep128 k, int n) {
    return from_bits(Keep128{k.lo >> n | k.hi << (64 - n), k.hi >> n});
}

// From memory that is faster, from a cache slower.
template <class Operation>
constexpr bool decides_first = false;

// 128 * n columns from the first of `group` on; `in` and `out` move past them.
template <int n, class Operation>
[[gnu::always_inline]] inline void whole_run(const RowRule& rule, uint32_t group, int64_t& in,
                                             int64_t& out, Operation& operation) {
    const RowRun<n> run(rule, group);
    const int64_t in_step = 128 * operation.in_step(), out_step = 128 * operation.out_step();
    if constexpr (decides_first<Operation>) {
        Kept kept[n];
#pragma GCC unroll 4
        for (int i = 0; i < n; ++i) {
            operation.fetch(in + i * in_step);
            kept[i] = run.kept(i);
        }
#pragma GCC unroll 4
        for (int i = 0; i < n; ++i, in += in_step, out += out_step)
            operation.apply(in, out, kept[i]);
    } else {
#pragma GCC unroll 4
        for (int i = 0; i < n; ++i, in += in_step, out += out_step)
            operation.whole(in, out, run.kept(i));
    }
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
    constexpr int at_once = Operation::at_once;
    for (; n >= 128 * at_once; n -= 128 * at_once, group += 16 * at_once)
        whole_run<at_once>(rule, group, in, out, operation);
    if (at_once > 2 && n >= 256) {
        whole_run<2>(rule, group, in, out, operation);
        n -= 256;
        group += 32;
    }
    if (at_once > 1 && n >= 128) {
        whole_run<1>(rule, group, in, out, operation);
        n -= 128;
        group += 16;
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

// Each run along the last dimension has one decision; 16 runs are decided together.
template <class Operation>
inline void walk_shared(const Layout& layout, const Rule& rule, Operation& operation,
                        int64_t begin, int64_t end) {
    const int64_t size = layout.dims[layout.ndim - 1].size;
    Cursor c(layout, begin);
    Groups16 at = {};
    int64_t in[16], out[16], length[16];
    int bit[16];
    while (begin < end) {
        int runs = 0;
        for (; runs < 16 && begin < end; ++runs) {
            at.group[runs] = static_cast<uint32_t>(c.col >> 3);
            at.row[runs] = static_cast<uint32_t>(c.row);
            at.plane[runs] = static_cast<uint32_t>(c.plane);
            bit[runs] = static_cast<int>(c.col & 7) + 8 * (runs & 7);
            in[runs] = c.in_offset + c.at * operation.in_step();
            out[runs] = c.out_offset + c.at * operation.out_step();
            length[runs] = smaller(size - c.at, end - begin);
            begin += length[runs];
            c.next_run();
        }
        const Keep128 kept = keep_groups(rule.key, rule.threshold, at);
        for (int r = 0; r < runs; ++r)
            operation.shared(in[r], out[r], length[r],
                             ((r < 8 ? kept.lo : kept.hi) >> bit[r] & 1) != 0);
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

// The same for rows of whole groups in at most three dimensions: the 16 groups step forward
// together, as numbers in a mixed radix, and there are no gaps to close.
struct LanePacking {
    uint32_t group[16], inner[16], outer[16];  // local indices
    uint32_t sizes[2], step_group, step_inner, step_outer;
    Groups16 at;

    static bool fits(const Layout& l, int64_t begin, int64_t end) {
        const int64_t size = l.dims[l.ndim - 1].size;
        return l.ndim <= 3 && size % 8 == 0 && l.col % 8 == 0 && begin % 8 == 0 && end % 8 == 0 &&
               count_elements(l) >> 34 == 0;
    }

    LanePacking(const Layout& l, int64_t begin) {
        sizes[0] = static_cast<uint32_t>(l.dims[l.ndim - 1].size / 8);
        sizes[1] = l.ndim > 2 ? static_cast<uint32_t>(l.dims[1].size) : UINT32_MAX;
        const uint32_t first = static_cast<uint32_t>(begin / 8);
        for (uint32_t g = 0; g < 16; ++g) {
            group[g] = (first + g) % sizes[0];
            inner[g] = (first + g) / sizes[0] % sizes[1];
            outer[g] = (first + g) / sizes[0] / sizes[1];
        }
        step_group = 16 % sizes[0];
        step_inner = 16 / sizes[0] % sizes[1];
        step_outer = 16 / sizes[0] / sizes[1];
    }

    [[gnu::always_inline]] void next(const Layout& l) {
        const Dim& in = l.dims[l.ndim > 2 ? 1 : 0];
        const Dim& out = l.dims[0];
        const uint32_t row = static_cast<uint32_t>(l.row), plane = static_cast<uint32_t>(l.plane);
        const uint32_t col_group = static_cast<uint32_t>(l.col >> 3);
        const uint32_t in_row = static_cast<uint32_t>(in.row_step);
        const uint32_t in_plane = static_cast<uint32_t>(in.plane_step);
        const uint32_t out_row = l.ndim > 2 ? static_cast<uint32_t>(out.row_step) : 0;
        const uint32_t out_plane = l.ndim > 2 ? static_cast<uint32_t>(out.plane_step) : 0;
        for (int g = 0; g < 16; ++g) {
            at.group[g] = col_group + group[g];
            at.row[g] = row + inner[g] * in_row + outer[g] * out_row;
            at.plane[g] = plane + inner[g] * in_plane + outer[g] * out_plane;
            const uint32_t next_group = group[g] + step_group;
            const uint32_t row_ends = next_group >= sizes[0];
            group[g] = row_ends ? next_group - sizes[0] : next_group;
            const uint32_t next_inner = inner[g] + step_inner + row_ends;
            const uint32_t inner_ends = next_inner >= sizes[1];
            inner[g] = inner_ends ? next_inner - sizes[1] : next_inner;
            outer[g] += step_outer + inner_ends;
        }
    }
};

template <class Operation>
inline void walk_lanes(const Layout& layout, const Rule& rule, Operation& operation, int64_t begin,
                       int64_t end) {
    LanePacking packing(layout, begin);
    for (; begin < end; begin += 128) {
        packing.next(layout);
        const Kept kept = from_bits(keep_groups(rule.key, rule.threshold, packing.at));
        if (end - begin >= 128)
            operation.whole(begin, begin, kept);
        else
            operation.part(begin, begin, kept, static_cast<int>(end - begin));
    }
}

// Row by row, 16 groups are computed even where a row ends earlier; packing pays for its
// bookkeeping when a good part of them would be thrown away.
inline bool prefers_packing(const Layout& layout, int64_t kept_of, int64_t computed_of) {
    const int64_t size = layout.dims[layout.ndim - 1].size;
    const int64_t computed = (size + 127) / 128 * 128;
    return size * computed_of < computed * kept_of;
}

template <class Operation>
inline void walk(const Layout& layout, const Rule& rule, Operation operation, int64_t begin,
                 int64_t end) {
    if (layout.dims[layout.ndim - 1].col_step == 0)
        return walk_shared(layout, rule, operation, begin, end);
    if (layout.ndim > 1 && is_linear(layout)) {
        if (prefers_packing(layout, 9, 10) && LanePacking::fits(layout, begin, end))
            return walk_lanes(layout, rule, operation, begin, end);
        if (prefers_packing(layout, 2, 3))
            return walk_packed(layout, rule, operation, begin, end);
    }
    walk_rows(layout, rule, operation, begin, end);
}

constexpr int64_t huge_page = int64_t{1} << 21;  // bytes, on x86-64 and mostly on aarch64

// Splits n elements of `size` bytes, written from `out` on, over threads: piece(begin, end). Pieces
// are cut at cache lines of the output; large ones at huge pages, because two threads that first
// touch the same one would both wait for its zeroing.
template <class Piece>
inline void split(int64_t n, const void* out, int64_t size, int threads, const Piece& piece) {
    if (n == 0) return;
    if (threads <= 1) return piece(0, n);
    // Large tensors get more pieces than threads: a thread that is held up then loses less.
    const int64_t pieces = threads * (n >= (1 << 20) ? 8 : 1);
    const int64_t least = (n + pieces - 1) / pieces;
    const bool is_huge = least * size >= huge_page;
    const int64_t unit = is_huge ? huge_page / size : 1024;
    const int64_t step = (least + unit - 1) / unit * unit;
    // The first piece also takes what lies before the first huge page.
    const int64_t past = static_cast<int64_t>(reinterpret_cast<uintptr_t>(out) %
                                              static_cast<uintptr_t>(huge_page));
    const int64_t lead = is_huge && past != 0 ? (huge_page - past) / size : 0;
    run_tasks((n - lead + step - 1) / step, threads, [&](int64_t i, int) {
        const int64_t begin = lead + i * step;
        piece(i == 0 ? 0 : begin, smaller(begin + step, n));
    });
}

template <class Operation>
inline void walk_parallel(const Layout& layout, const Rule& rule, Operation operation,
                          int threads) {
    const int64_t size = static_cast<int64_t>(sizeof(*operation.out));
    split(count_elements(layout), operation.out, size, threads, [&](int64_t begin, int64_t end) {
        walk(layout, rule, operation, begin, end);
    });
}

}  // namespace
}  // namespace redrop
