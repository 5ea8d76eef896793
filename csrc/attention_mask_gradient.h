// The gradient of an additive attn_mask: the gradient of the scores, summed over what the mask is
// broadcast over.
//
// A pass of its own, because few ask for it: two of the backward's products again. A task owns a
// tile of keys of one mask (all keys, if keys share an element) and adds samples, heads and query
// tiles up in rising order.
#pragma once

#include "attention_backward_tasks.h"

namespace redrop {
namespace {

struct MaskGradientTask {
    const AttentionParams& p;
    const BackwardPlan& plan;
    const BackwardScratch& s;
    int64_t b, h;  // of the mask; 0 where it is broadcast
    float* grad;
};

inline void add_score_gradients(const MaskGradientTask& t, int64_t query, int64_t rows,
                                int64_t column, int64_t columns) {
    const AttentionParams& p = t.p;
    for (int64_t i = 0; i < rows; ++i) {
        const int64_t seen =
            p.is_causal ? smaller_of(columns, query + i + 1 - column) : columns;
        const float* from = t.s.grads + i * tile_stride;
        float* to = t.grad + (query + i) * p.grad_mask_query + column * p.grad_mask_key;
        if (p.grad_mask_key == 0) {
            double sum = 0.0;  // of many that nearly cancel
            for (int64_t j = 0; j < seen; ++j) sum += from[j];
            *to += static_cast<float>(sum);
        } else {
            for (int64_t j = 0; j < seen; ++j) to[j * p.grad_mask_key] += from[j];
        }
    }
}

template <class Arithmetic>
void mask_gradient_of_head(const MaskGradientTask& t, int64_t b, int64_t h, int64_t column) {
    using Element = typename Arithmetic::Storage;
    const AttentionParams& p = t.p;
    const Sequence seq = sequence_at(p, b);
    if (column >= seq.keys) return;
    const int64_t columns = smaller_of(key_tile, seq.keys - column);
    const int64_t kv = h / (p.heads / p.kv_heads);
    pack_key_tile<Arithmetic>(p, seq, kv, column, columns, t.plan.widths, t.s);
    row_deltas<Element>(p, seq, h, t.s.delta);
    const BackwardHead<Arithmetic> head{
        p,
        t.s,
        seq,
        t.plan.widths,
        head_mask<Element>(p, b, h),
        head_dropout(p, b, h),
        head_rows<const Element>(p, p.query, b, h, seq.first_query),
        head_rows<const Element>(p, p.grad_out, b, h, seq.first_query),
        head_rows<const float>(p, p.normalizer, b, h, seq.first_query),
        t.s.delta,
        nullptr,
        0,
        1.0};
    for (int64_t q = 0; q < seq.queries; q += query_tile) {
        const int64_t rows = smaller_of(query_tile, seq.queries - q);
        const int64_t seen = smaller_of(columns, visible_keys(p, seq, q + rows) - column);
        if (seen <= 0) continue;
        rebuild_tile(head, q, rows, column, seen);
        add_score_gradients(t, q, rows, column, seen);
    }
}

template <class Arithmetic>
void mask_gradient_task(const MaskGradientTask& t, int64_t first_column, int64_t end_column) {
    const AttentionParams& p = t.p;
    const int64_t samples = p.grad_mask_batch == 0 ? p.batch : 1;
    const int64_t heads = p.grad_mask_head == 0 ? p.heads : 1;
    for (int64_t column = first_column; column < end_column; column += key_tile)
        for (int64_t b = t.b; b < t.b + samples; ++b)
            for (int64_t h = t.h; h < t.h + heads; ++h)
                mask_gradient_of_head<Arithmetic>(t, b, h, column);
}

template <class Arithmetic>
void attention_mask_gradient(const AttentionParams& p) {
    BackwardPlan plan = backward_plan<Arithmetic>(p);
    plan.in_place = true;  // no dQ here
    plan.shares = 1;
    const Scratch scratch(backward_scratch<Arithmetic>(p, plan, nullptr).size, p.threads);
    const int64_t samples = p.grad_mask_batch == 0 ? 1 : p.batch;
    const int64_t heads = p.grad_mask_head == 0 ? 1 : p.heads;
    const int64_t task_keys = p.grad_mask_key == 0 ? larger_of(p.keys, 1) : key_tile;
    const int64_t tiles = ceil_div(p.keys, task_keys);
    run_tasks(samples * heads * tiles, p.threads, [&](int64_t task, int thread) {
        const BackwardScratch mine =
            backward_scratch<Arithmetic>(p, plan, scratch.of_thread(thread));
        const int64_t first = task % tiles * task_keys;
        const int64_t h = task / tiles % heads, b = task / tiles / heads;
        float* grad =
            reinterpret_cast<float*>(p.grad_mask) + b * p.grad_mask_batch + h * p.grad_mask_head;
        mask_gradient_task<Arithmetic>(MaskGradientTask{p, plan, mine, b, h, grad}, first,
                                       smaller_of(p.keys, first + task_keys));
    });
}

}  // namespace
}  // namespace redrop
