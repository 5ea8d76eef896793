// Where things lie: tiles, sequences, rows of tensors, and the scratch memory of a thread.
#pragma once

#include <cstdlib>
#include <new>

#include "attention.h"
#include "attention_arithmetic.h"

namespace redrop {
namespace {

// A tile is query_tile x key_tile scores. 128 keys are what one keep128 call decides.
constexpr int64_t query_tile = 64, key_tile = 128;
// One vector more than key_tile: rows a power of two apart would share a few cache sets.
constexpr int64_t tile_stride = key_tile + 16;
constexpr float minus_infinity = -__builtin_inff();

// One sample, or one of the packed sequences.
struct Sequence {
    int64_t index, queries, keys, first_query, first_key;
};

inline Sequence sequence_at(const AttentionParams& p, int64_t b) {
    if (p.cumulative_queries == 0) return Sequence{b, p.queries, p.keys, 0, 0};
    const int64_t* q = reinterpret_cast<const int64_t*>(p.cumulative_queries);
    const int64_t* k = reinterpret_cast<const int64_t*>(p.cumulative_keys);
    return Sequence{b, q[b + 1] - q[b], k[b + 1] - k[b], q[b], k[b]};
}

// The first row of one head; `first_token` is 0 unless sequences are packed.
template <class Element>
inline Element* head_rows(const AttentionParams& p, const AttentionTensor& t, int64_t b, int64_t h,
                          int64_t first_token) {
    const int64_t sample = p.cumulative_queries == 0 ? b * t.batch : first_token * t.token;
    return reinterpret_cast<Element*>(t.data) + sample + h * t.head;
}

// Keys that the rows before `end` may see.
inline int64_t visible_keys(const AttentionParams& p, const Sequence& s, int64_t end) {
    return p.is_causal ? smaller_of(s.keys, end) : s.keys;
}

// Scratch memory: one block for all threads, 64-byte aligned, handed out piece by piece.
class Scratch {
public:
    Scratch(int64_t floats_each, int threads)
        : each_(round_up(floats_each, 1024)),
          data_(static_cast<float*>(
              std::aligned_alloc(64, static_cast<size_t>(each_ * threads) * sizeof(float)))) {
        if (data_ == nullptr) throw std::bad_alloc();
    }
    ~Scratch() { std::free(data_); }
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;
    float* of_thread(int thread) const { return data_ + thread * each_; }

private:
    int64_t each_;
    float* data_;
};

// Counts when `at` is null, so that one function both measures and lays out a thread's memory.
struct Carver {
    float* at = nullptr;
    int64_t taken = 0;
    float* take(int64_t floats) {
        float* piece = at == nullptr ? nullptr : at + taken;
        taken += round_up(floats, 16);
        return piece;
    }
};

// Packed widths, in words.
struct Widths {
    int64_t head_words, head_columns;    // head size as depth of a product; as columns of one
    int64_t value_words, value_columns;
};

template <class Arithmetic>
Widths widths_of(const AttentionParams& p) {
    return Widths{round_up(ceil_div(p.head_size, Arithmetic::depth), 16),
                  round_up(p.head_size, 16),
                  round_up(ceil_div(p.value_size, Arithmetic::depth), 16),
                  round_up(p.value_size, 16)};
}

inline void fill(float* p, int64_t n, float x) {
    for (int64_t i = 0; i < n; ++i) p[i] = x;
}

// Keys or values of a tile as the right-hand side of `rows . keys^T`.
template <class Arithmetic>
void pack_transposed(const typename Arithmetic::Storage* from, int64_t stride, int64_t rows,
                     int64_t width, int64_t words, float* rows_scratch, float* to) {
    Arithmetic::pack_rows(from, stride, rows, width, rows_scratch, words);
    transpose(rows_scratch, words, rows, round_up(ceil_div(width, Arithmetic::depth), 4), to,
              tile_stride);
}

}  // namespace
}  // namespace redrop
