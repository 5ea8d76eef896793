// Attention backward with five products a tile (FlashAttention-2, algorithm 2):
//
//   S = Q K^T, dP = dO V^T, dV += W^T dO, dK += dS^T Q, dQ += dS K
//
// where W are the weights after dropout and dS the gradient of the scores, both rebuilt. A task is
// one key head of one sample: per tile of keys it sums dK and dV over all its query heads and
// query tiles in rising order, and dQ over the tiles of keys. Where there are few heads, `shares`
// tasks take every shares-th tile of keys each, with a dQ of their own, added up in order
// afterwards; their number follows from the shape alone, so that threads change no bit.
#pragma once

#include "attention_softmax.h"

namespace redrop {
namespace {

struct BackwardScratch {
    float *key_rows, *keys, *values, *key_depth, *grad_key, *grad_value;
    float *query_rows, *query_depth, *grad_rows, *grad_depth;
    float *scores, *grads, *weight_depth, *score_rows, *score_depth, *bias, *delta, *grad_query;
    int64_t size;
};

// How dQ is summed up: in the gradient itself where it is made of floats in whole vectors, else in
// scratch memory of one task, or of all where several tasks share a head.
struct BackwardPlan {
    int64_t shares;
    bool in_place;
    Widths widths;
    int64_t grad_rows;  // rows of scratch dQ per head
};

constexpr int64_t wanted_tasks = 16;

template <class Arithmetic>
BackwardPlan backward_plan(const AttentionParams& p) {
    BackwardPlan plan;
    plan.widths = widths_of<Arithmetic>(p);
    const int64_t tasks = larger_of(1, p.batch * p.kv_heads);
    const int64_t tiles = larger_of(1, p.keys / (2 * key_tile));
    plan.shares = smaller_of(ceil_div(wanted_tasks, tasks), tiles);
    plan.in_place = plan.shares == 1 && p.storage == static_cast<int>(AttentionStorage::float32) &&
                    p.head_size % 16 == 0;
    plan.grad_rows = p.queries;
    return plan;
}

template <class Arithmetic>
BackwardScratch backward_scratch(const AttentionParams& p, const BackwardPlan& plan, float* at) {
    const Widths& w = plan.widths;
    const int64_t group = p.heads / p.kv_heads;
    Carver c{at};
    BackwardScratch s;
    s.key_rows = c.take(key_tile * larger_of(w.head_words, w.value_words));
    s.keys = c.take(w.head_words * tile_stride);
    s.values = c.take(w.value_words * tile_stride);
    s.key_depth = c.take(key_tile * w.head_columns);
    s.grad_key = c.take(key_tile * w.head_columns);
    s.grad_value = c.take(key_tile * w.value_columns);
    s.query_rows = c.take(query_tile * w.head_words);
    s.grad_rows = c.take(query_tile * w.value_words);
    // Packed along the depth, floats look the same as packed in rows.
    const bool same = Arithmetic::depth == 1;
    s.query_depth = same ? s.query_rows : c.take(query_tile * w.head_columns);
    s.grad_depth = same ? s.grad_rows : c.take(query_tile * w.value_columns);
    s.scores = c.take(query_tile * tile_stride);
    s.grads = c.take(query_tile * tile_stride);
    s.weight_depth = same ? nullptr : c.take(query_tile * tile_stride);
    s.score_rows = same ? nullptr : c.take(query_tile * tile_stride);
    s.score_depth = same ? nullptr : c.take(query_tile * tile_stride);
    s.bias = c.take(key_tile);
    s.delta = c.take(group * p.queries);
    const bool own = !plan.in_place && plan.shares == 1;
    s.grad_query = own ? c.take(group * plan.grad_rows * w.head_columns) : nullptr;
    s.size = c.taken;
    return s;
}

// One query head, as its task sees it.
template <class Arithmetic>
struct BackwardHead {
    using Element = typename Arithmetic::Storage;
    const AttentionParams& p;
    const BackwardScratch& s;
    const Sequence& sequence;
    Widths widths;
    HeadMask<Element> mask;
    HeadDropout dropout;
    const Element *query, *grad_out;
    const float *normalizer, *delta;
    float* grad_query;
    int64_t grad_query_stride;
    double score_factor;  // of the score gradients: `scale` for queries and keys, 1 for the mask
};

// delta = rowsum(grad_out * out), which equals the rowsum of weights * their gradient.
template <class Element>
void row_deltas(const AttentionParams& p, const Sequence& seq, int64_t h, float* delta) {
    const Element* out = head_rows<const Element>(p, p.out, seq.index, h, seq.first_query);
    const Element* grad = head_rows<const Element>(p, p.grad_out, seq.index, h, seq.first_query);
    for (int64_t i = 0; i < seq.queries; ++i) {
        const Element* a = out + i * p.out.token;
        const Element* b = grad + i * p.grad_out.token;
        const int64_t whole = p.value_size / vector_width * vector_width;
        Vector sums = zeros();
        for (int64_t j = 0; j < whole; j += vector_width)
            sums = fma(load_elements(a + j), load_elements(b + j), sums);
        float rest = 0.0f;
        for (int64_t j = whole; j < p.value_size; ++j) rest += to_float(a[j]) * to_float(b[j]);
        delta[i] = sum(sums) + rest;
    }
}

inline void set_normalizer(RowGradient& r, const float* normalizer) {
    const bool saw_nothing = normalizer[1] == 0.0f;
    r.top = saw_nothing ? -minus_infinity : normalizer[0];
    r.share = saw_nothing ? 0.0f : 1.0f / normalizer[1];
}

template <class Arithmetic, bool Dropout>
void differentiate_tile(const BackwardHead<Arithmetic>& head, int64_t query, int64_t rows,
                        int64_t column, int64_t columns) {
    const AttentionParams& p = head.p;
    const bool biased = p.mask_kind == static_cast<int>(AttentionMask::additive);
    Bits128 kept[query_tile];
    if (Dropout) keep_tile(head.dropout, query, rows, column, kept);
    RowGradient r;
    r.scale = static_cast<float>(p.scale);
    const float factor = static_cast<float>(head.score_factor);
    r.grad_scale = static_cast<float>(head.score_factor * p.dropout_scale);
    for (int64_t i = 0; i < rows; ++i) {
        RowInput in;
        in.columns = p.is_causal ? smaller_of(columns, query + i + 1 - column) : columns;
        in.width = round_up(columns, 16);
        if (in.columns < 0) in.columns = 0;
        in.visible = visible(p, head.mask, query + i, column, in.columns);
        in.bias = head.s.bias;
        if (Dropout) in.kept = kept[i];
        set_normalizer(r, head.normalizer + (query + i) * p.normalizer.token);
        r.delta = head.delta[query + i] * factor;
        float* weights = head.s.scores + i * tile_stride;
        float* grads = head.s.grads + i * tile_stride;
        if (biased) {
            head.mask.bias(query + i, column, in.columns, head.s.bias);
            backward_row<true, true, Dropout>(weights, grads, in, r);
        } else if (all_visible(in.visible, in.columns)) {
            backward_row<false, false, Dropout>(weights, grads, in, r);
        } else {
            backward_row<false, true, Dropout>(weights, grads, in, r);
        }
    }
}

// Dropped weights and score gradients of one tile, from packed keys and values: s.scores, s.grads.
template <class Arithmetic>
void rebuild_tile(const BackwardHead<Arithmetic>& head, int64_t query, int64_t rows, int64_t column,
                  int64_t columns) {
    const AttentionParams& p = head.p;
    const BackwardScratch& s = head.s;
    const Widths& w = head.widths;
    Arithmetic::pack_rows(head.query + query * p.query.token, p.query.token, rows, p.head_size,
                          s.query_rows, w.head_words);
    Arithmetic::pack_rows(head.grad_out + query * p.grad_out.token, p.grad_out.token, rows,
                          p.value_size, s.grad_rows, w.value_words);
    Band band;
    if (p.is_causal) band.columns_to = query - column;
    const int64_t head_words = ceil_div(p.head_size, Arithmetic::depth);
    const int64_t value_words = ceil_div(p.value_size, Arithmetic::depth);
    const Rows queries{s.query_rows, w.head_words}, grad_rows{s.grad_rows, w.value_words};
    const Rows keys{s.keys, tile_stride}, values{s.values, tile_stride};
    product<Arithmetic, false, false>(rows, columns, head_words, queries, keys, s.scores,
                                      tile_stride, band);
    product<Arithmetic, false, false>(rows, columns, value_words, grad_rows, values, s.grads,
                                      tile_stride, band);
    if (p.has_dropout)
        differentiate_tile<Arithmetic, true>(head, query, rows, column, columns);
    else
        differentiate_tile<Arithmetic, false>(head, query, rows, column, columns);
}

template <class Arithmetic>
void backward_tile(const BackwardHead<Arithmetic>& head, int64_t query, int64_t rows,
                   int64_t column, int64_t columns) {
    const AttentionParams& p = head.p;
    const BackwardScratch& s = head.s;
    const Widths& w = head.widths;
    rebuild_tile(head, query, rows, column, columns);
    if (Arithmetic::depth > 1) {
        Arithmetic::pack_depth(head.query + query * p.query.token, p.query.token, rows,
                               p.head_size, s.query_depth, w.head_columns);
        Arithmetic::pack_depth(head.grad_out + query * p.grad_out.token, p.grad_out.token, rows,
                               p.value_size, s.grad_depth, w.value_columns);
    }
    const int64_t row_words = ceil_div(rows, Arithmetic::depth);
    Band below, before;  // key row j of W^T needs queries from j on; query i needs keys up to i
    if (p.is_causal) {
        below.depth_from = column - query;
        before.depth_to = query - column;
    }
    const Rows weights =
        Arithmetic::weight_depth(s.scores, tile_stride, rows, columns, s.weight_depth);
    product<Arithmetic, true, true>(columns, p.value_size, row_words, weights,
                                    Rows{s.grad_depth, w.value_columns}, s.grad_value,
                                    w.value_columns, below);
    const Rows scores =
        Arithmetic::weight_depth(s.grads, tile_stride, rows, columns, s.score_depth);
    product<Arithmetic, true, true>(columns, p.head_size, row_words, scores,
                                    Rows{s.query_depth, w.head_columns}, s.grad_key,
                                    w.head_columns, below);
    const Rows score_rows =
        Arithmetic::weight_rows(s.grads, tile_stride, rows, columns, s.score_rows);
    product<Arithmetic, false, true>(rows, p.head_size, ceil_div(columns, Arithmetic::depth),
                                     score_rows, Rows{s.key_depth, w.head_columns},
                                     head.grad_query + query * head.grad_query_stride,
                                     head.grad_query_stride, before);
}

template <class Element>
void store_rows(const float* from, int64_t from_stride, int64_t rows, int64_t width, float factor,
                Element* to, int64_t stride) {
    for (int64_t i = 0; i < rows; ++i)
        for (int64_t j = 0; j < width; ++j)
            store_element(to + i * stride + j, from[i * from_stride + j] * factor);
}

template <class Arithmetic>
void pack_key_tile(const AttentionParams& p, const Sequence& seq, int64_t kv, int64_t column,
                   int64_t columns, const Widths& w, const BackwardScratch& s) {
    using Element = typename Arithmetic::Storage;
    const Element* key = head_rows<const Element>(p, p.key, seq.index, kv, seq.first_key);
    const Element* value = head_rows<const Element>(p, p.value, seq.index, kv, seq.first_key);
    key += column * p.key.token;
    value += column * p.value.token;
    pack_transposed<Arithmetic>(key, p.key.token, columns, p.head_size, w.head_words, s.key_rows,
                                s.keys);
    pack_transposed<Arithmetic>(value, p.value.token, columns, p.value_size, w.value_words,
                                s.key_rows, s.values);
    Arithmetic::pack_depth(key, p.key.token, columns, p.head_size, s.key_depth, w.head_columns);
}

}  // namespace
}  // namespace redrop
