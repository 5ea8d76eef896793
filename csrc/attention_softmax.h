// One row of a tile of scores becomes weights: forward with a running maximum, backward from the
// final one. Rows are `n` columns long and filled up with zeros to `width`, whole vectors both.
#pragma once

#include "attention_mask.h"

namespace redrop {
namespace {

// What is known about a row before its scores are looked at.
struct RowInput {
    int64_t columns, width;  // columns that may be seen; columns the next product reads
    Bits128 visible, kept;
    const float* bias;
};

// scale * product (+ mask), and -infinity where the row may not look. `Selected` says that not all
// columns are visible.
template <bool Biased, bool Selected>
[[gnu::always_inline]] inline Vector score(const float* row, int64_t j, const RowInput& in,
                                           Vector scale) {
    Vector x = load(row + j) * scale;
    if (Biased) x = x + load(in.bias + j);
    if (Selected) x = select(bits_at(in.visible, j), x, splat(minus_infinity));
    return x;
}

// The running maximum and sum of a row (Milakov and Gimelshein, 2018).
struct Running {
    float top, total;
};

// Scores to unnormalized weights exp(score - top), dropped ones to zero; returns by how much
// what was summed up before shrinks. The total counts dropped elements too: dropout comes after
// the softmax.
template <bool Biased, bool Selected, bool Dropout>
[[gnu::always_inline]] inline float forward_row(float* row, const RowInput& in, float scale,
                                                Running& run) {
    const Vector factor = splat(scale);
    Vector tops = splat(minus_infinity);
    for (int64_t j = 0; j < in.columns; j += vector_width) {
        const Vector x = score<Biased, Selected>(row, j, in, factor);
        store(row + j, x);
        tops = larger(tops, x);
    }
    const float here = largest(tops), before = run.top;
    const float top = here > before ? here : before;
    // A row that has seen nothing yet keeps -infinity; its weights are exp(-infinity - 0) = 0.
    const float base = top == minus_infinity ? 0.0f : top;
    Vector totals = zeros();
    for (int64_t j = 0; j < in.columns; j += vector_width) {
        Vector w = exponential(load(row + j) - splat(base));
        totals = totals + w;
        if (Dropout) w = select(bits_at(in.kept, j), w);
        store(row + j, w);
    }
    for (int64_t j = round_up(in.columns, vector_width); j < in.width; j += vector_width)
        store(row + j, zeros());
    run.top = top;
    if (top == before) {
        run.total += sum(totals);
        return 1.0f;
    }
    float shrink[vector_width];
    store(shrink, exponential(splat(before - base)));
    run.total = run.total * shrink[0] + sum(totals);
    return shrink[0];
}

// What backward knows of a row: its largest score (+infinity where it saw nothing) and 1 / its sum,
// f * delta with delta = grad_out . out, f / (1 - p) where f is the wanted factor of the gradient,
// and the scale of the scores.
struct RowGradient {
    float top, share, delta, grad_scale, scale;
};

// weights: scores in, weights after dropout (without 1/(1-p)) out.
// grads: gradient of the dropped weights in; out f * gradient of the scores, which is
//   f * weight * (keep * grad / (1 - p) - delta).
template <bool Biased, bool Selected, bool Dropout>
[[gnu::always_inline]] inline void backward_row(float* weights, float* grads, const RowInput& in,
                                                const RowGradient& r) {
    const Vector scale = splat(r.scale), top = splat(r.top), share = splat(r.share);
    const Vector grad_scale = splat(r.grad_scale), delta = splat(r.delta);
    for (int64_t j = 0; j < in.columns; j += vector_width) {
        Vector w = exponential(score<Biased, Selected>(weights, j, in, scale) - top) * share;
        Vector g = load(grads + j) * grad_scale;
        if (Dropout) g = select(bits_at(in.kept, j), g);
        g = w * (g - delta);
        if (Selected) g = select(bits_at(in.visible, j), g);
        if (Dropout) w = select(bits_at(in.kept, j), w);
        store(weights + j, w);
        store(grads + j, g);
    }
    for (int64_t j = round_up(in.columns, vector_width); j < in.width; j += vector_width) {
        store(weights + j, zeros());
        store(grads + j, zeros());
    }
}

inline bool all_visible(const Bits128& bits, int64_t columns) {
    const Bits128 all = first_bits(round_up(columns, vector_width));
    return bits.lo == all.lo && bits.hi == all.hi;
}

}  // namespace
}  // namespace redrop
