// Who does which part of the backward pass, and where dQ is summed up; attention_backward.h says
// why it is done this way.
#pragma once

#include "attention_backward.h"
#include "parallel.h"

namespace redrop {
namespace {

// One key head of one sequence and one share of its tiles of keys. `shared` is the memory for dQ
// of all shares, null where a task has its own.
struct BackwardTask {
    const AttentionParams& p;
    const BackwardPlan& plan;
    const BackwardScratch& s;
    Sequence sequence;
    int64_t kv, share;
    float* shared;
};

// Where the task sums up dQ of query head h.
struct GradRows {
    float* data;
    int64_t stride;
};

inline float* share_rows(const AttentionParams& p, const BackwardPlan& plan, float* shared,
                         int64_t share, int64_t b, int64_t h) {
    const int64_t head_floats = plan.grad_rows * plan.widths.head_columns;
    return shared + ((share * p.batch + b) * p.heads + h) * head_floats;
}

inline GradRows grad_query_rows(const BackwardTask& t, int64_t h) {
    const AttentionParams& p = t.p;
    const Sequence& seq = t.sequence;
    if (t.plan.in_place)
        return {head_rows<float>(p, p.grad_query, seq.index, h, seq.first_query),
                p.grad_query.token};
    const int64_t stride = t.plan.widths.head_columns, group = p.heads / p.kv_heads;
    if (t.shared != nullptr)
        return {share_rows(p, t.plan, t.shared, t.share, seq.index, h), stride};
    return {t.s.grad_query + h % group * t.plan.grad_rows * stride, stride};
}

inline float* delta_rows(const BackwardTask& t, int64_t h) {
    return t.s.delta + h % (t.p.heads / t.p.kv_heads) * t.p.queries;
}

template <class Arithmetic>
BackwardHead<Arithmetic> backward_head(const BackwardTask& t, int64_t h) {
    using Element = typename Arithmetic::Storage;
    const AttentionParams& p = t.p;
    const Sequence& seq = t.sequence;
    const GradRows grad = grad_query_rows(t, h);
    return BackwardHead<Arithmetic>{
        p,
        t.s,
        seq,
        t.plan.widths,
        head_mask<Element>(p, seq.index, h),
        head_dropout(p, seq.index, h),
        head_rows<const Element>(p, p.query, seq.index, h, seq.first_query),
        head_rows<const Element>(p, p.grad_out, seq.index, h, seq.first_query),
        head_rows<const float>(p, p.normalizer, seq.index, h, seq.first_query),
        delta_rows(t, h),
        grad.data,
        grad.stride,
        p.scale};
}

// dK and dV of one tile of keys, and its part of dQ.
template <class Arithmetic>
void backward_keys(const BackwardTask& t, int64_t column) {
    using Element = typename Arithmetic::Storage;
    const AttentionParams& p = t.p;
    const Sequence& seq = t.sequence;
    const BackwardScratch& s = t.s;
    const Widths& w = t.plan.widths;
    const int64_t columns = smaller_of(key_tile, seq.keys - column), group = p.heads / p.kv_heads;
    pack_key_tile<Arithmetic>(p, seq, t.kv, column, columns, w, s);
    fill(s.grad_key, columns * w.head_columns, 0.0f);
    fill(s.grad_value, columns * w.value_columns, 0.0f);
    for (int64_t h = t.kv * group; h < (t.kv + 1) * group; ++h) {
        const BackwardHead<Arithmetic> head = backward_head<Arithmetic>(t, h);
        const int64_t first = p.is_causal ? column / query_tile * query_tile : 0;
        for (int64_t q = first; q < seq.queries; q += query_tile) {
            const int64_t rows = smaller_of(query_tile, seq.queries - q);
            const int64_t seen = smaller_of(columns, visible_keys(p, seq, q + rows) - column);
            if (seen > 0) backward_tile(head, q, rows, column, seen);
        }
    }
    Element* grad_key = head_rows<Element>(p, p.grad_key, seq.index, t.kv, seq.first_key);
    Element* grad_value = head_rows<Element>(p, p.grad_value, seq.index, t.kv, seq.first_key);
    store_rows(s.grad_key, w.head_columns, columns, p.head_size, 1.0f,
               grad_key + column * p.grad_key.token, p.grad_key.token);
    store_rows(s.grad_value, w.value_columns, columns, p.value_size,
               static_cast<float>(p.dropout_scale), grad_value + column * p.grad_value.token,
               p.grad_value.token);
}

template <class Arithmetic>
void backward_task(const BackwardTask& t) {
    using Element = typename Arithmetic::Storage;
    const AttentionParams& p = t.p;
    const Sequence& seq = t.sequence;
    const int64_t group = p.heads / p.kv_heads, first = t.kv * group;
    for (int64_t h = first; h < first + group; ++h) {
        row_deltas<Element>(p, seq, h, delta_rows(t, h));
        const GradRows grad = grad_query_rows(t, h);
        const int64_t width = t.plan.in_place ? p.head_size : grad.stride;
        for (int64_t i = 0; i < seq.queries; ++i) fill(grad.data + i * grad.stride, width, 0.0f);
    }
    for (int64_t column = t.share * key_tile; column < seq.keys;
         column += t.plan.shares * key_tile)
        backward_keys<Arithmetic>(t, column);
    if (t.plan.in_place || t.shared != nullptr) return;
    for (int64_t h = first; h < first + group; ++h) {
        const GradRows grad = grad_query_rows(t, h);
        store_rows(grad.data, grad.stride, seq.queries, p.head_size, 1.0f,
                   head_rows<Element>(p, p.grad_query, seq.index, h, seq.first_query),
                   p.grad_query.token);
    }
}

// dQ of one head from its shares, in their order.
template <class Arithmetic>
void add_shares(const AttentionParams& p, const BackwardPlan& plan, float* shared, int64_t b,
                int64_t h) {
    using Element = typename Arithmetic::Storage;
    const Sequence seq = sequence_at(p, b);
    const int64_t floats = seq.queries * plan.widths.head_columns;
    float* sum = share_rows(p, plan, shared, 0, b, h);
    for (int64_t share = 1; share < plan.shares; ++share) {
        const float* part = share_rows(p, plan, shared, share, b, h);
        for (int64_t i = 0; i < floats; ++i) sum[i] += part[i];
    }
    store_rows(sum, plan.widths.head_columns, seq.queries, p.head_size, 1.0f,
               head_rows<Element>(p, p.grad_query, b, h, seq.first_query), p.grad_query.token);
}

template <class Arithmetic>
void attention_backward(const AttentionParams& p) {
    const BackwardPlan plan = backward_plan<Arithmetic>(p);
    const Scratch scratch(backward_scratch<Arithmetic>(p, plan, nullptr).size, p.threads);
    const bool divided = plan.shares > 1;
    const int64_t heads = p.batch * p.heads;
    const Scratch shares(
        divided ? plan.shares * heads * plan.grad_rows * plan.widths.head_columns : 0, 1);
    float* shared = divided ? shares.of_thread(0) : nullptr;
    const int64_t key_heads = p.batch * p.kv_heads;
    run_tasks(key_heads * plan.shares, p.threads, [&](int64_t task, int thread) {
        const BackwardScratch mine =
            backward_scratch<Arithmetic>(p, plan, scratch.of_thread(thread));
        const int64_t b = task % key_heads / p.kv_heads;
        backward_task<Arithmetic>(BackwardTask{p, plan, mine, sequence_at(p, b),
                                               task % p.kv_heads, task / key_heads, shared});
    });
    if (!divided) return;
    run_tasks(heads, p.threads, [&](int64_t head, int) {
        add_shares<Arithmetic>(p, plan, shared, head / p.heads, head % p.heads);
    });
}

}  // namespace
}  // namespace redrop
