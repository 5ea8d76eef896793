// The one product behind all seven of attention: C (+)= A . B on small packed tiles.
//
// An operand is made of 32-bit *words*: one float, or two neighbouring bfloat16 along the depth K
// (see attention_arithmetic.h); K counts words. B is rows of words, K x N. A is M x K rows, or, as
// its transpose, K x M rows: broadcasting an element does not care which, so that the weights of a
// tile serve `weights . value` and `weights^T . grad_out` from the same memory.
//
// A block of C stays in registers while K runs; per step it takes tile_vectors loads and tile_rows
// broadcasts for their product in multiply-adds.
#pragma once

#include "attention_vector.h"

namespace redrop {
namespace {

// What a causal mask leaves of a product. Row i of C needs depth [i + depth_from, i + depth_to)
// and columns [0, i + columns_to) only; the defaults leave all.
struct Band {
    int64_t depth_from = -unlimited, depth_to = unlimited, columns_to = unlimited;
    static constexpr int64_t unlimited = int64_t{1} << 40;
};

// Rows of words: `data`, and the distance from one row to the next.
struct Rows {
    const float* data;
    int64_t stride;
};

template <class Arithmetic, int R, int V, bool Transposed, bool Accumulate>
inline void block_product(int64_t depth, Rows a, Rows b, float* c, int64_t c_stride) {
    Vector sums[R][V];
#pragma GCC unroll 8
    for (int i = 0; i < R; ++i)
#pragma GCC unroll 8
        for (int j = 0; j < V; ++j) sums[i][j] = zeros();
    const float* pa = a.data;
    const float* pb = b.data;
    for (int64_t k = 0; k < depth; ++k) {
        Vector right[V];
#pragma GCC unroll 8
        for (int j = 0; j < V; ++j) right[j] = load(pb + j * vector_width);
#pragma GCC unroll 8
        for (int i = 0; i < R; ++i) {
            const Vector left = splat(Transposed ? pa[i] : pa[i * a.stride]);
#pragma GCC unroll 8
            for (int j = 0; j < V; ++j)
                sums[i][j] = Arithmetic::multiply_add(left, right[j], sums[i][j]);
        }
        pa += Transposed ? a.stride : 1;
        pb += b.stride;
    }
#pragma GCC unroll 8
    for (int i = 0; i < R; ++i)
#pragma GCC unroll 8
        for (int j = 0; j < V; ++j) {
            float* to = c + i * c_stride + j * vector_width;
            // Added last: a sum over all keys then is a sum of sums, which loses fewer bits.
            store(to, Accumulate ? load(to) + sums[i][j] : sums[i][j]);
        }
}

// From run-time sizes to the block compiled for them: R and V count down to what is asked for.
template <class Arithmetic, bool Transposed, bool Accumulate, int R = tile_rows,
          int V = tile_vectors>
inline void block(int64_t rows, int64_t vectors, int64_t depth, Rows a, Rows b, float* c,
                  int64_t c_stride) {
    if constexpr (R > 1)
        if (rows < R)
            return block<Arithmetic, Transposed, Accumulate, R - 1, V>(rows, vectors, depth, a, b,
                                                                       c, c_stride);
    if constexpr (V > 1)
        if (vectors < V)
            return block<Arithmetic, Transposed, Accumulate, R, V - 1>(rows, vectors, depth, a, b,
                                                                       c, c_stride);
    block_product<Arithmetic, R, V, Transposed, Accumulate>(depth, a, b, c, c_stride);
}

// The next block of `left` rows: full ones, and an even split of what would leave a thin last one.
inline int64_t block_rows(int64_t left) {
    if (left >= 2 * tile_rows || left <= tile_rows) return smaller_of(left, tile_rows);
    return (left + 1) / 2;
}

// C (+)= A . B for `rows` x `columns` of C; rows of B and C are readable and writable up to the
// next full vector. Without Accumulate, what the band leaves out of C keeps its old content.
template <class Arithmetic, bool Transposed, bool Accumulate>
inline void product(int64_t rows, int64_t columns, int64_t depth, Rows a, Rows b, float* c,
                    int64_t c_stride, const Band& band) {
    const int64_t vectors = ceil_div(columns, vector_width);
    int64_t width = 0;
    for (int64_t v = 0; v < vectors; v += width) {
        // 5 vectors are done as 3 + 2, not as 4 + 1.
        const int64_t left = vectors - v;
        width = left <= tile_vectors ? left
                                     : (left < 2 * tile_vectors ? (left + 1) / 2 : tile_vectors);
        int64_t height = 0;
        for (int64_t i = 0; i < rows; i += height) {
            height = block_rows(rows - i);
            const int64_t from =
                larger_of(0, i + band.depth_from) / Arithmetic::depth;
            const int64_t to = smaller_of(
                depth, ceil_div(larger_of(0, i + height + band.depth_to), Arithmetic::depth));
            const int64_t seen = ceil_div(i + height + band.columns_to, vector_width) - v;
            const int64_t live = smaller_of(width, seen);
            if (live <= 0 || (Accumulate && from >= to)) continue;
            const Rows at{a.data + (Transposed ? i + from * a.stride : i * a.stride + from),
                          a.stride};
            const Rows right{b.data + from * b.stride + v * vector_width, b.stride};
            block<Arithmetic, Transposed, Accumulate>(height, live, larger_of(0, to - from), at,
                                                      right, c + i * c_stride + v * vector_width,
                                                      c_stride);
        }
    }
}

}  // namespace
}  // namespace redrop
