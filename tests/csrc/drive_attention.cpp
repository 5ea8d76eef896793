// Attention forward, backward and the gradient of its mask: sizes around the tiles, grouped heads,
// packed sequences, masks, windows. Instruction sets round differently here, so only the runs of
// one set with 1, 2 and 3 threads are compared.
#include "drive.h"

#include "attention.h"

using namespace redrop;

namespace {

const char* const sets[] = {"portable", "avx2", "avx512", "avx512bf16"};

struct Case {
    int64_t batch, heads, kv_heads, queries, keys, head_size, value_size;
    bool is_causal, has_dropout;
    AttentionMask mask;
    int64_t offset;  // of queries and keys in the whole
    bool is_packed;
};

constexpr AttentionMask none = AttentionMask::none, boolean = AttentionMask::boolean,
                        additive = AttentionMask::additive;

// 512 queries are one task, 256 keys one share of the backward pass, 64 x 128 scores one tile.
constexpr Case cases[] = {
    {1, 1, 1, 1, 1, 1, 1, false, true, none, 0, false},
    {2, 2, 1, 3, 5, 8, 7, false, true, additive, 5, false},
    {1, 4, 2, 65, 129, 20, 24, false, true, boolean, 3, false},
    {1, 2, 2, 130, 130, 33, 16, true, true, none, 8, false},
    {1, 1, 1, 530, 530, 16, 17, true, true, none, 0, false},
    {1, 2, 1, 64, 520, 5, 40, false, false, additive, 0, false},
    {3, 2, 1, 40, 70, 12, 12, true, true, none, 1, true},
    {2, 2, 2, 0, 9, 8, 8, false, true, none, 0, false},
    {2, 2, 2, 9, 0, 8, 8, false, true, none, 0, false},
    {2, 0, 0, 9, 9, 8, 8, false, true, none, 0, false},
};

// All tensors of one case, each in memory of its own.
struct Tensors {
    int64_t query_tokens, key_tokens;
    size_t element;
    Guarded query, key, value, out, normalizer, grad_out, grad_query, grad_key, grad_value;
    Guarded mask, grad_mask, query_totals, key_totals;

    Tensors(const Case& c, size_t bytes)
        : query_tokens(samples(c) * c.queries), key_tokens(samples(c) * c.keys), element(bytes),
          query(size(query_tokens * c.heads * c.head_size)),
          key(size(key_tokens * c.kv_heads * c.head_size)),
          value(size(key_tokens * c.kv_heads * c.value_size)),
          out(size(query_tokens * c.heads * c.value_size)),
          normalizer(static_cast<size_t>(query_tokens * c.heads * 2) * 4),
          grad_out(size(query_tokens * c.heads * c.value_size)),
          grad_query(size(query_tokens * c.heads * c.head_size)),
          grad_key(size(key_tokens * c.kv_heads * c.head_size)),
          grad_value(size(key_tokens * c.kv_heads * c.value_size)),
          mask(static_cast<size_t>(c.queries * c.keys) * (c.mask == boolean ? 1 : bytes)),
          grad_mask(static_cast<size_t>(c.queries * c.keys) * 4),
          query_totals(static_cast<size_t>(c.batch + 1) * 8),
          key_totals(static_cast<size_t>(c.batch + 1) * 8) {
        query.fill(element, 1);
        key.fill(element, 2);
        value.fill(element, 3);
        grad_out.fill(element, 4);
        if (c.mask == additive) mask.fill(element, 5);
        if (c.mask == boolean)
            for (int64_t i = 0; i < c.queries * c.keys; ++i) mask.data()[i] = i % 3 != 0;
        std::memset(grad_mask.data(), 0, static_cast<size_t>(c.queries * c.keys) * 4);
    }

    static int64_t samples(const Case& c) { return c.is_packed ? 1 : c.batch; }
    size_t size(int64_t n) const { return static_cast<size_t>(n) * element; }
};

// Samples, tokens, heads in memory, as the layers of redrop have them.
AttentionTensor rows(const Guarded& memory, int64_t tokens, int64_t heads, int64_t width) {
    return AttentionTensor{memory.address(), tokens * heads * width, width, heads * width};
}

AttentionParams params_of(const Case& c, const Tensors& t, int storage, int threads) {
    AttentionParams p;
    p.query = rows(t.query, c.queries, c.heads, c.head_size);
    p.key = rows(t.key, c.keys, c.kv_heads, c.head_size);
    p.value = rows(t.value, c.keys, c.kv_heads, c.value_size);
    p.out = rows(t.out, c.queries, c.heads, c.value_size);
    p.normalizer = rows(t.normalizer, c.queries, c.heads, 2);
    p.grad_out = rows(t.grad_out, c.queries, c.heads, c.value_size);
    p.grad_query = rows(t.grad_query, c.queries, c.heads, c.head_size);
    p.grad_key = rows(t.grad_key, c.keys, c.kv_heads, c.head_size);
    p.grad_value = rows(t.grad_value, c.keys, c.kv_heads, c.value_size);
    p.batch = c.batch, p.heads = c.heads, p.kv_heads = c.kv_heads;
    p.queries = c.queries, p.keys = c.keys;
    p.head_size = c.head_size, p.value_size = c.value_size;
    p.storage = storage, p.threads = threads;
    p.is_causal = c.is_causal, p.scale = 0.25;
    p.mask_kind = static_cast<int>(c.mask);
    p.mask = t.mask.address(), p.grad_mask = t.grad_mask.address();
    p.mask_query = p.grad_mask_query = c.keys;
    p.mask_key = p.grad_mask_key = 1;
    p.has_dropout = c.has_dropout;
    p.dropout_key = drive_key, p.threshold = 0x1999999A, p.dropout_scale = 1.0 / 0.9;
    p.heads_global = c.heads, p.query_offset = p.key_offset = c.offset;
    return p;
}

// The sequences of a packed case: an empty one, some with a rest, and all that is left.
void set_totals(const Guarded& memory, int64_t sequences, int64_t tokens) {
    int64_t* totals = reinterpret_cast<int64_t*>(memory.data());
    for (int64_t b = 0; b < sequences; ++b) totals[b] = tokens * b * (b - 1) / 7;
    totals[sequences] = tokens;
}

void pack(const Case& c, const Tensors& t, AttentionParams& p) {
    set_totals(t.query_totals, c.batch, c.queries);
    set_totals(t.key_totals, c.batch, c.keys);
    p.cumulative_queries = t.query_totals.address();
    p.cumulative_keys = t.key_totals.address();
}

int drive_case(const Case& c, const AttentionKernels& kernels, int storage) {
    std::vector<uint8_t> first[6];
    for (int threads = 1; threads <= 3; ++threads) {
        const Tensors t(c, storage == 0 ? 4 : 2);
        AttentionParams p = params_of(c, t, storage, threads);
        if (c.is_packed) pack(c, t, p);
        kernels.forward(p);
        kernels.backward(p);
        if (c.mask == additive) kernels.mask_gradient(p);
        const std::vector<uint8_t> results[] = {t.out.copy(),      t.normalizer.copy(),
                                                t.grad_query.copy(), t.grad_key.copy(),
                                                t.grad_value.copy(), t.grad_mask.copy()};
        for (int i = 0; i < 6; ++i) {
            if (threads == 1) first[i] = results[i];
            demand(results[i] == first[i], "attention", kernels.isa, threads);
        }
    }
    return c.mask == additive ? 9 : 6;
}

}  // namespace

int drive_attention() {
    int calls = 0;
    for (const char* isa : sets) {
        const AttentionKernels* kernels = attention_kernels(isa);
        if (kernels == nullptr) continue;
        for (const Case& c : cases)
            for (int storage = 0; storage < 2; ++storage) calls += drive_case(c, *kernels, storage);
    }
    return calls;
}

// Two heads, done by two threads, have their output in the same place.
void plant_attention_race(const char* isa) {
    const Case c{1, 2, 2, 9, 9, 8, 8, false, true, none, 0, false};
    const Tensors t(c, 4);
    AttentionParams p = params_of(c, t, 0, 2);
    p.out.head = 0;
    attention_kernels(isa)->forward(p);
}
