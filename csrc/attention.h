// Scaled dot product attention with dropout: what the outside sees, free of Python.
//
//   scores  = scale * query . key + attn_mask          (T x S per head, never in memory as a whole)
//   weights = softmax(scores)                          (sums are taken before dropout)
//   out     = (keep_mask * weights / (1 - p)) . value
//
// Forward leaves `out` and what normalizes each row: its largest score and the sum of
// exp(score - largest). Backward builds scores, weights and keep_mask again from them, so nothing
// else is stored between the two. (Their logsumexp alone would lose the sum where a mask of the
// lowest finite number makes the scores huge, and would round all weights of a row alike.) The keep
// decision is that of SPEC.md: plane = sample * heads of the whole model + head, row = query,
// col = key, all counted in the whole job.
#pragma once

#include <cstdint>

namespace redrop {

// One tensor: strides in elements; the last dimension is contiguous, no matter how the rest lies.
// With packed sequences `batch` is unused: a sequence starts at token cumulative[b].
struct AttentionTensor {
    uintptr_t data = 0;
    int64_t batch = 0, head = 0, token = 0;
};

enum class AttentionStorage : int { float32 = 0, bfloat16 = 1 };
enum class AttentionMask : int { none = 0, boolean = 1, additive = 2 };

struct AttentionParams {
    AttentionTensor query, key, value, out;
    AttentionTensor grad_out, grad_query, grad_key, grad_value;
    AttentionTensor normalizer;  // float32 pairs (largest, sum); -infinity and 0 for a blind row

    // Boolean: one byte an element, 1 = may attend. Additive: stored like the query. Strides are 0
    // where the mask is broadcast. Its gradient is float32, zero before, and summed over what has
    // stride 0.
    int mask_kind = 0;
    uintptr_t mask = 0, grad_mask = 0;
    int64_t mask_batch = 0, mask_head = 0, mask_query = 0, mask_key = 0;
    int64_t grad_mask_batch = 0, grad_mask_head = 0, grad_mask_query = 0, grad_mask_key = 0;

    int64_t batch = 0, heads = 0, kv_heads = 0, queries = 0, keys = 0;
    int64_t head_size = 0, value_size = 0;
    // Packed sequences: batch + 1 running totals each, queries and keys then are the longest ones.
    uintptr_t cumulative_queries = 0, cumulative_keys = 0;

    int storage = 0;
    bool is_causal = false;  // key <= query, both counted from 0 in this call, as in PyTorch
    double scale = 1.0;

    bool has_dropout = false;  // p = 1 never comes here
    uint64_t dropout_key = 0;
    uint32_t threshold = 0;
    double dropout_scale = 1.0;
    int64_t sample_offset = 0, head_offset = 0, heads_global = 0;
    int64_t query_offset = 0, key_offset = 0;

    int threads = 1;  // never changes a bit of any result
};

// One set of kernels; they differ in instruction set, never in the mask.
struct AttentionKernels {
    const char* isa;
    void (*forward)(const AttentionParams&);
    void (*backward)(const AttentionParams&);
    void (*mask_gradient)(const AttentionParams&);
};

// "portable", "avx2", "avx512", "avx512bf16", or "" for the best one this machine runs.
// Null where the name is unknown or the machine cannot run it.
const AttentionKernels* attention_kernels(const char* isa);

}  // namespace redrop
