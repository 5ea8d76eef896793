// One vector of floats for the instruction set this file is compiled for, and the exponential.
// Everything above this file is written once for all sets.
#pragma once

#include <cstdint>

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#include "attention_vector_avx512.h"
#elif defined(__AVX2__) && defined(__FMA__)
#include "attention_vector_avx2.h"
#else
#include "attention_vector_portable.h"
#endif

namespace redrop {
namespace {

// exp(x) for x <= 88, at most 1.3 units in the last place off; 0 below -87 (and for -inf), NaN for
// NaN. exp(x) = 2^n * exp(r), |r| <= ln(2)/2, and exp(r) = 1 + r + r^2 q(r) with q a minimax
// polynomial (Remez exchange on the relative error, 3.1e-9 before rounding).
[[gnu::always_inline]] inline Vector exponential(Vector x) {
    const Vector n = round_to_integer(x * splat(1.44269504f));
    // ln(2) as one float: n times its error, 1.9e-9, is lost in the rounding of x for any score
    // whose weight is not negligible.
    const Vector r = fma(n, splat(-0.693147181f), x);
    Vector q = fma(splat(0.00138144672f), r, splat(0.00836878084f));
    q = fma(q, r, splat(0.0416683927f));
    q = fma(q, r, splat(0.166665196f));
    q = fma(q, r, splat(0.49999994f));
    q = fma(q, r * r, r) + splat(1.0f);
    return scale_or_zero(q, n, x, -87.0f);
}

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
constexpr int64_t round_up(int64_t a, int64_t to) { return ceil_div(a, to) * to; }
constexpr int64_t smaller_of(int64_t a, int64_t b) { return a < b ? a : b; }
constexpr int64_t larger_of(int64_t a, int64_t b) { return a > b ? a : b; }

}  // namespace
}  // namespace redrop
