// The table of one instruction set; included once per attention_isa_*.cpp.
#pragma once

#include "attention_backward_tasks.h"
#include "attention_bf16.h"
#include "attention_forward.h"
#include "attention_mask_gradient.h"

namespace redrop {
namespace {

#if defined(__AVX512BF16__)
using Bfloat16 = PairArithmetic;
#else
using Bfloat16 = FloatArithmetic<uint16_t>;
#endif

inline bool is_bfloat16(const AttentionParams& p) {
    return p.storage == static_cast<int>(AttentionStorage::bfloat16);
}

// No head, so nothing to write; heads / kv_heads would not be a number.
inline bool is_empty(const AttentionParams& p) { return p.kv_heads == 0; }

inline void run_forward(const AttentionParams& p) {
    if (is_empty(p)) return;
    if (is_bfloat16(p)) return attention_forward<Bfloat16>(p);
    attention_forward<FloatArithmetic<float>>(p);
}

inline void run_backward(const AttentionParams& p) {
    if (is_empty(p)) return;
    if (is_bfloat16(p)) return attention_backward<Bfloat16>(p);
    attention_backward<FloatArithmetic<float>>(p);
}

inline void run_mask_gradient(const AttentionParams& p) {
    if (is_empty(p)) return;
    if (is_bfloat16(p)) return attention_mask_gradient<Bfloat16>(p);
    attention_mask_gradient<FloatArithmetic<float>>(p);
}

}  // namespace
}  // namespace redrop
