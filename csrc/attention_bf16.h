// Products of bfloat16 pairs (AVX512-BF16): a word holds two neighbours along the depth, and one
// instruction adds both products to a float32 sum.
//
// Queries, keys, values and gradients come as bfloat16 already; weights and score gradients are
// rounded to it, after their sums were taken in float32.
#pragma once

#include "attention_arithmetic.h"

#if defined(__AVX512BF16__)

namespace redrop {
namespace {

struct PairArithmetic {
    using Storage = uint16_t;
    static constexpr int depth = 2;

    static Vector multiply_add(Vector a, Vector b, Vector c) {
        return {_mm512_dpbf16_ps(c.v, reinterpret_cast<__m512bh>(a.v),
                                 reinterpret_cast<__m512bh>(b.v))};
    }

    // Two neighbours of a row are a word as they lie. A row ends in zeros.
    static void pack_rows(const uint16_t* from, int64_t stride, int64_t rows, int64_t width,
                          float* to, int64_t to_stride) {
        const int64_t whole = width / 32 * 32;
        const __mmask32 rest = static_cast<__mmask32>((uint64_t{1} << (width - whole)) - 1);
        for (int64_t i = 0; i < rows; ++i) {
            const uint16_t* source = from + i * stride;
            float* target = to + i * to_stride;
            for (int64_t j = 0; j < whole; j += 32)
                _mm512_storeu_si512(target + j / 2, _mm512_loadu_si512(source + j));
            if (rest != 0)
                _mm512_storeu_si512(target + whole / 2,
                                    _mm512_maskz_loadu_epi16(rest, source + whole));
        }
    }

    // Rows 2i and 2i + 1 share words; a missing last row counts as zeros.
    static void pack_depth(const uint16_t* from, int64_t stride, int64_t rows, int64_t width,
                           float* to, int64_t to_stride) {
        for (int64_t i = 0; i < rows; i += 2) {
            const uint16_t* first = from + i * stride;
            float* target = to + i / 2 * to_stride;
            for (int64_t j = 0; j < width; j += 16) {
                const int64_t left = smaller_of(16, width - j);
                const __mmask16 live = static_cast<__mmask16>((1u << left) - 1);
                const __m512i low = load_half(live, first + j);
                const __m512i high =
                    i + 1 < rows ? load_half(live, first + stride + j) : _mm512_setzero_si512();
                _mm512_storeu_si512(target + j, join(low, high));
            }
        }
    }

    static Rows weight_rows(const float* tile, int64_t stride, int64_t rows, int64_t columns,
                            float* to) {
        for (int64_t i = 0; i < rows; ++i)
            for (int64_t j = 0; j < columns; j += 32) {
                const __m512 low = _mm512_loadu_ps(tile + i * stride + j);
                // Behind `columns` lies what was filled up with zeros, or nothing.
                const __m512 high = j + 16 < columns ? _mm512_loadu_ps(tile + i * stride + j + 16)
                                                     : _mm512_setzero_ps();
                _mm512_storeu_si512(to + i * stride + j / 2,
                                    reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low)));
            }
        return Rows{to, stride};
    }

    static Rows weight_depth(const float* tile, int64_t stride, int64_t rows, int64_t columns,
                             float* to) {
        for (int64_t i = 0; i < rows; i += 2)
            for (int64_t j = 0; j < columns; j += 16) {
                const float* first = tile + i * stride + j;
                const __m512 low = _mm512_loadu_ps(first);
                const __m512 high = i + 1 < rows ? _mm512_loadu_ps(first + stride)
                                                 : _mm512_setzero_ps();
                _mm512_storeu_si512(to + i / 2 * stride + j, join(narrow(low), narrow(high)));
            }
        return Rows{to, stride};
    }

private:
    static __m512i load_half(__mmask16 live, const uint16_t* p) {
        return _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(live, p));
    }
    static __m512i narrow(__m512 x) {
        return _mm512_cvtepu16_epi32(reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(x)));
    }
    static __m512i join(__m512i low, __m512i high) {
        return _mm512_or_si512(low, _mm512_slli_epi32(high, 16));
    }
};

}  // namespace
}  // namespace redrop

#endif
