// Attention forward, tile by tile (Dao: FlashAttention-2, 2023, algorithm 1).
//
// A task is `task_queries` rows of one head. It walks over the keys once; each tile of keys and
// values is packed once and used by all its query tiles.
#pragma once

#include "attention_softmax.h"
#include "parallel.h"

namespace redrop {
namespace {

constexpr int64_t task_queries = 8 * query_tile;

struct ForwardScratch {
    float *query, *out, *key_rows, *keys, *values, *scores, *weights, *bias;
    Running* running;
    int64_t size;
};

template <class Arithmetic>
ForwardScratch forward_scratch(const AttentionParams& p, float* at) {
    const Widths w = widths_of<Arithmetic>(p);
    const int64_t rows = smaller_of(task_queries, round_up(p.queries, 4));
    Carver c{at};
    ForwardScratch s;
    s.query = c.take(rows * w.head_words);
    s.out = c.take(rows * w.value_columns);
    s.key_rows = c.take(key_tile * w.head_words);
    s.keys = c.take(w.head_words * tile_stride);
    s.values = c.take(key_tile * w.value_columns);
    s.scores = c.take(query_tile * tile_stride);
    s.weights = c.take(query_tile * tile_stride);
    s.bias = c.take(key_tile);
    s.running = reinterpret_cast<Running*>(c.take(2 * rows));
    s.size = c.taken;
    return s;
}

// One head of one sequence, as the forward pass sees it.
template <class Arithmetic>
struct ForwardHead {
    using Element = typename Arithmetic::Storage;
    const AttentionParams& p;
    ForwardScratch s;
    Sequence sequence;
    Widths widths;
    HeadMask<Element> mask;
    HeadDropout dropout;
};

template <class Arithmetic, bool Dropout>
void weigh_tile(const ForwardHead<Arithmetic>& head, int64_t query, int64_t rows, int64_t column,
                int64_t columns, Running* running, float* out) {
    const AttentionParams& p = head.p;
    const float scale = static_cast<float>(p.scale);
    const bool biased = p.mask_kind == static_cast<int>(AttentionMask::additive);
    const int64_t out_columns = head.widths.value_columns;
    Bits128 kept[query_tile];
    if (Dropout) keep_tile(head.dropout, query, rows, column, kept);
    for (int64_t i = 0; i < rows; ++i) {
        RowInput in;
        in.columns = p.is_causal ? smaller_of(columns, query + i + 1 - column) : columns;
        in.width = round_up(columns, 16);
        if (in.columns < 0) in.columns = 0;
        in.visible = visible(p, head.mask, query + i, column, in.columns);
        in.bias = head.s.bias;
        if (Dropout) in.kept = kept[i];
        float* row = head.s.scores + i * tile_stride;
        float shrink;
        if (biased) {
            head.mask.bias(query + i, column, in.columns, head.s.bias);
            shrink = forward_row<true, true, Dropout>(row, in, scale, running[i]);
        } else if (all_visible(in.visible, in.columns)) {
            shrink = forward_row<false, false, Dropout>(row, in, scale, running[i]);
        } else {
            shrink = forward_row<false, true, Dropout>(row, in, scale, running[i]);
        }
        if (shrink == 1.0f) continue;
        float* o = out + i * out_columns;
        for (int64_t j = 0; j < out_columns; j += vector_width)
            store(o + j, load(o + j) * splat(shrink));
    }
}

template <class Arithmetic>
void forward_tile(const ForwardHead<Arithmetic>& head, int64_t first, int64_t query, int64_t rows,
                  int64_t column, int64_t columns) {
    const ForwardScratch& s = head.s;
    const Widths& w = head.widths;
    Band band;
    if (head.p.is_causal) band.columns_to = query - column;
    const Rows queries{s.query + (query - first) * w.head_words, w.head_words};
    const int64_t head_words = ceil_div(head.p.head_size, Arithmetic::depth);
    product<Arithmetic, false, false>(rows, columns, head_words, queries,
                                      Rows{s.keys, tile_stride}, s.scores, tile_stride, band);
    float* out = s.out + (query - first) * w.value_columns;
    Running* running = s.running + (query - first);
    if (head.p.has_dropout)
        weigh_tile<Arithmetic, true>(head, query, rows, column, columns, running, out);
    else
        weigh_tile<Arithmetic, false>(head, query, rows, column, columns, running, out);

    Band seen;
    if (head.p.is_causal) seen.depth_to = query - column;
    const Rows weights =
        Arithmetic::weight_rows(s.scores, tile_stride, rows, columns, s.weights);
    product<Arithmetic, false, true>(rows, head.p.value_size, ceil_div(columns, Arithmetic::depth),
                                     weights, Rows{s.values, w.value_columns}, out,
                                     w.value_columns, seen);
}

// out = dropout_scale / total * sum; zeros for a row that saw no key.
template <class Arithmetic>
void finish_rows(const ForwardHead<Arithmetic>& head, int64_t h, int64_t first, int64_t rows) {
    using Element = typename Arithmetic::Storage;
    const AttentionParams& p = head.p;
    const Sequence& seq = head.sequence;
    Element* out = head_rows<Element>(p, p.out, seq.index, h, seq.first_query);
    out += first * p.out.token;
    float* normalizer = head_rows<float>(p, p.normalizer, seq.index, h, seq.first_query);
    normalizer += first * p.normalizer.token;
    for (int64_t i = 0; i < rows; ++i) {
        const Running run = head.s.running[i];
        const float factor =
            run.total == 0.0f ? 0.0f : static_cast<float>(p.dropout_scale / run.total);
        const float* from = head.s.out + i * head.widths.value_columns;
        Element* to = out + i * p.out.token;
        for (int64_t j = 0; j < p.value_size; ++j) store_element(to + j, from[j] * factor);
        normalizer[i * p.normalizer.token] = run.top;
        normalizer[i * p.normalizer.token + 1] = run.total;
    }
}

template <class Arithmetic>
void forward_task(const ForwardHead<Arithmetic>& head, int64_t h, int64_t first) {
    using Element = typename Arithmetic::Storage;
    const AttentionParams& p = head.p;
    const Sequence& seq = head.sequence;
    const ForwardScratch& s = head.s;
    const Widths& w = head.widths;
    const int64_t rows = smaller_of(task_queries, seq.queries - first), end = first + rows;
    const int64_t kv = h / (p.heads / p.kv_heads);
    const Element* query = head_rows<const Element>(p, p.query, seq.index, h, seq.first_query);
    const Element* key = head_rows<const Element>(p, p.key, seq.index, kv, seq.first_key);
    const Element* value = head_rows<const Element>(p, p.value, seq.index, kv, seq.first_key);

    Arithmetic::pack_rows(query + first * p.query.token, p.query.token, rows, p.head_size, s.query,
                          w.head_words);
    fill(s.out, rows * w.value_columns, 0.0f);
    for (int64_t i = 0; i < rows; ++i) s.running[i] = Running{minus_infinity, 0.0f};

    const int64_t keys = visible_keys(p, seq, end);
    for (int64_t column = 0; column < keys; column += key_tile) {
        const int64_t columns = smaller_of(key_tile, keys - column);
        pack_transposed<Arithmetic>(key + column * p.key.token, p.key.token, columns, p.head_size,
                                    w.head_words, s.key_rows, s.keys);
        Arithmetic::pack_depth(value + column * p.value.token, p.value.token, columns,
                               p.value_size, s.values, w.value_columns);
        for (int64_t q = first; q < end; q += query_tile) {
            const int64_t tile = smaller_of(query_tile, end - q);
            const int64_t seen = smaller_of(columns, visible_keys(p, seq, q + tile) - column);
            if (seen > 0) forward_tile(head, first, q, tile, column, seen);
        }
    }
    finish_rows(head, h, first, rows);
}

template <class Arithmetic>
void attention_forward(const AttentionParams& p) {
    using Element = typename Arithmetic::Storage;
    const Scratch scratch(forward_scratch<Arithmetic>(p, nullptr).size, p.threads);
    const int64_t heads = p.batch * p.heads, blocks = ceil_div(p.queries, task_queries);
    run_tasks(heads * blocks, p.threads, [&](int64_t task, int thread) {
        // Last rows first: with a causal mask they are the long ones.
        const int64_t first = (blocks - 1 - task / heads) * task_queries;
        const int64_t b = task % heads / p.heads, h = task % p.heads;
        const Sequence sequence = sequence_at(p, b);
        if (first >= sequence.queries) return;
        const ForwardHead<Arithmetic> head{
            p, forward_scratch<Arithmetic>(p, scratch.of_thread(thread)), sequence,
            widths_of<Arithmetic>(p), head_mask<Element>(p, b, h), head_dropout(p, b, h)};
        forward_task(head, h, first);
    });
}

}  // namespace
}  // namespace redrop
