// How operands of the products are packed and multiplied: float32 words, from float32 or bfloat16
// storage. attention_bf16.h has the one that multiplies bfloat16 pairs.
//
// An Arithmetic has
//   Storage, depth           the tensors' element; how many elements of K share a word
//   multiply_add(a, b, c)    c + a * b, summed over the elements of a word
//   pack_rows                rows x width elements -> rows of words along the width (A, or input
//                            of `transpose`)
//   pack_depth               K x width elements -> ceil(K / depth) rows of words along K (B)
//   weight_rows/weight_depth float tile -> words along its columns / along its rows
// Packed rows are filled up with zeros to whole vectors.
#pragma once

#include "attention_gemm.h"

namespace redrop {
namespace {

inline float to_float(float x) { return x; }
inline float to_float(uint16_t bits) {
    const uint32_t wide = static_cast<uint32_t>(bits) << 16;
    float x;
    __builtin_memcpy(&x, &wide, sizeof x);
    return x;
}
inline Vector load_elements(const float* p) { return load(p); }
inline Vector load_elements(const uint16_t* p) { return load_bfloat16(p); }

inline uint16_t to_bfloat16(float x) {
    uint32_t bits;
    __builtin_memcpy(&bits, &x, sizeof bits);
    if (x != x) return static_cast<uint16_t>(bits >> 16 | 0x40);  // stay a (quiet) NaN
    // To nearest, ties to even.
    return static_cast<uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}
inline void store_element(float* p, float x) { *p = x; }
inline void store_element(uint16_t* p, float x) { *p = to_bfloat16(x); }

template <class Element>
struct FloatArithmetic {
    using Storage = Element;
    static constexpr int depth = 1;

    static Vector multiply_add(Vector a, Vector b, Vector c) { return fma(a, b, c); }

    static void pack_rows(const Element* from, int64_t stride, int64_t rows, int64_t width,
                          float* to, int64_t to_stride) {
        const int64_t whole = width / vector_width * vector_width;
        for (int64_t i = 0; i < rows; ++i) {
            const Element* source = from + i * stride;
            float* target = to + i * to_stride;
            for (int64_t j = 0; j < whole; j += vector_width)
                store(target + j, load_elements(source + j));
            if (whole == width) continue;
            store(target + whole, zeros());
            for (int64_t j = whole; j < width; ++j) target[j] = to_float(source[j]);
        }
    }

    static void pack_depth(const Element* from, int64_t stride, int64_t rows, int64_t width,
                           float* to, int64_t to_stride) {
        pack_rows(from, stride, rows, width, to, to_stride);
    }

    // A tile of floats is its own packed form, both ways.
    static Rows weight_rows(const float* tile, int64_t stride, int64_t, int64_t, float*) {
        return Rows{tile, stride};
    }
    static Rows weight_depth(const float* tile, int64_t stride, int64_t, int64_t, float*) {
        return Rows{tile, stride};
    }
};

typedef float Quad __attribute__((vector_size(16)));
typedef int32_t QuadIndex __attribute__((vector_size(16)));

inline Quad load_quad(const float* p) {
    Quad q;
    __builtin_memcpy(&q, p, sizeof q);
    return q;
}
inline void store_quad(float* p, Quad q) { __builtin_memcpy(p, &q, sizeof q); }

// rows x width words -> width x rows words. Both are read and written in whole 4 x 4 squares, so
// `from` has its rows, and `to` its columns, filled up to a multiple of 4.
inline void transpose(const float* from, int64_t stride, int64_t rows, int64_t width, float* to,
                      int64_t to_stride) {
    for (int64_t i = 0; i < rows; i += 4)
        for (int64_t j = 0; j < width; j += 4) {
            const float* source = from + i * stride + j;
            const Quad a = load_quad(source), b = load_quad(source + stride);
            const Quad c = load_quad(source + 2 * stride), d = load_quad(source + 3 * stride);
            const QuadIndex low = {0, 4, 1, 5}, high = {2, 6, 3, 7};
            const Quad ac = __builtin_shuffle(a, c, low), bd = __builtin_shuffle(b, d, low);
            const Quad AC = __builtin_shuffle(a, c, high), BD = __builtin_shuffle(b, d, high);
            float* target = to + j * to_stride + i;
            store_quad(target, __builtin_shuffle(ac, bd, low));
            store_quad(target + to_stride, __builtin_shuffle(ac, bd, high));
            store_quad(target + 2 * to_stride, __builtin_shuffle(AC, BD, low));
            store_quad(target + 3 * to_stride, __builtin_shuffle(AC, BD, high));
        }
}

}  // namespace
}  // namespace redrop
