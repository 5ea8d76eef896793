// Elementwise dropout: out = keep ? in * scale : 0. A dropped element is selected to zero, not
// multiplied by it, so that an infinity or NaN that is dropped is gone. Half types are computed in
// float32 and rounded once.
#pragma once

#include "kernels.h"
#include "simd.h"
#include "walk.h"

namespace redrop {
namespace {

// out = keep ? in * scale : 0 for 128 elements side by side.
template <class T>
[[gnu::always_inline]] inline void scale_128(const T* in, T* out, const Kept& kept,
                                             typename Lanes<T>::Scalar scale) {
    constexpr int count = Lanes<T>::count;
    const auto factor = splat(scale);
#pragma GCC unroll 64
    for (int j = 0; j < 128 / count; ++j)
        store(out + j * count, select(kept, j, load(in + j * count) * factor));
}

#if defined(REDROP_AVX512)
// 32 elements a vector: even and odd ones are float32 numbers once the other half is shifted or
// masked away, which is half the work of widening and narrowing. A NaN times a number keeps its
// low bits zero, so that rounding cannot carry it away.
[[gnu::always_inline]] inline void scale_128(const Bfloat16* in, Bfloat16* out, const Kept& kept,
                                             float scale) {
    const __m512 factor = splat(scale);
    const __m512i one = _mm512_set1_epi32(1), half = _mm512_set1_epi32(0x7FFF);
    const __m512i odd_words = _mm512_set1_epi32(static_cast<int32_t>(0xFFFF0000));
    const auto round = [&](__m512 v) {
        const __m512i bits = _mm512_castps_si512(v);
        const __m512i tie = _mm512_and_si512(_mm512_srli_epi32(bits, 16), one);
        return _mm512_add_epi32(_mm512_add_epi32(bits, half), tie);
    };
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
        const __m512i x = _mm512_loadu_si512(in + 32 * j);
        const __m512 even = _mm512_castsi512_ps(_mm512_slli_epi32(x, 16));
        const __m512 odd = _mm512_castsi512_ps(_mm512_and_si512(x, odd_words));
        const __m512i high = round(odd * factor), low = round(even * factor);
        const __m512i both =
            _mm512_ternarylogic_epi32(odd_words, high, _mm512_srli_epi32(low, 16), 0xCA);
        _mm512_storeu_si512(out + 32 * j, _mm512_maskz_mov_epi16(kept.m[j], both));
    }
}
#endif

template <class T>
struct DenseDropout {
    const T* in;
    T* out;
    typename Lanes<T>::Scalar scale;
    static constexpr int count = Lanes<T>::count;

    static constexpr int64_t in_step() { return 1; }
    static constexpr int64_t out_step() { return 1; }

    [[gnu::always_inline]] void whole(int64_t i, int64_t o, const Kept& kept) const {
        prefetch_128(in + i);
        scale_128(in + i, out + o, kept, scale);
    }

    void part(int64_t i, int64_t o, const Kept& kept, int n) const {
        const auto factor = splat(scale);
#pragma GCC unroll 64
        for (int j = 0; j < 128 / count; ++j) {
            const int left = n - j * count;
            if (left <= 0) return;
            if (left >= count) {
                store(out + o + j * count, select(kept, j, load(in + i + j * count) * factor));
            } else {
                const auto x = load_first(in + i + j * count, left);
                store_first(out + o + j * count, select(kept, j, x * factor), left);
            }
        }
    }

    void shared(int64_t i, int64_t o, int64_t n, bool is_kept) const {
        const Kept kept = all_alike(is_kept);
        for (; n >= 128; n -= 128, i += 128, o += 128) whole(i, o, kept);
        if (n > 0) part(i, o, kept, static_cast<int>(n));
    }
};

// The last dimension has gaps in memory: 128 elements at a time are gathered and scattered.
template <class T>
struct StridedDropout {
    const T* in;
    T* out;
    typename Lanes<T>::Scalar scale;
    int64_t in_stride, out_stride;

    int64_t in_step() const { return in_stride; }
    int64_t out_step() const { return out_stride; }

    void whole(int64_t i, int64_t o, const Kept& kept) const { part(i, o, kept, 128); }

    void part(int64_t i, int64_t o, const Kept& kept, int n) const {
        T buffer[128];
        for (int k = 0; k < n; ++k) buffer[k] = in[i + k * in_stride];
        DenseDropout<T>{buffer, buffer, scale}.part(0, 0, kept, n);
        for (int k = 0; k < n; ++k) out[o + k * out_stride] = buffer[k];
    }

    void shared(int64_t i, int64_t o, int64_t n, bool is_kept) const {
        const Kept kept = all_alike(is_kept);
        for (int64_t k = 0; k < n; k += 128)
            part(i + k * in_stride, o + k * out_stride, kept,
                 static_cast<int>(smaller(n - k, 128)));
    }
};

template <class T>
inline void dropout_as(const DropoutCall& call, const Layout& layout) {
    using Scalar = typename Lanes<T>::Scalar;
    const T* in = reinterpret_cast<const T*>(call.in);
    T* out = reinterpret_cast<T*>(call.out);
    const Scalar scale = static_cast<Scalar>(call.scale);
    const Rule rule{call.key, call.threshold};
    const Dim& last = layout.dims[layout.ndim - 1];
    if (last.in_stride == 1 && last.out_stride == 1)
        walk_parallel(layout, rule, DenseDropout<T>{in, out, scale}, call.threads);
    else
        walk_parallel(layout, rule,
                      StridedDropout<T>{in, out, scale, last.in_stride, last.out_stride},
                      call.threads);
}

inline void dropout(const DropoutCall& call, const Layout& layout) {
    switch (call.storage) {
        case Storage::float32: return dropout_as<float>(call, layout);
        case Storage::bfloat16: return dropout_as<Bfloat16>(call, layout);
        case Storage::float16: return dropout_as<Float16>(call, layout);
        case Storage::float64: return dropout_as<double>(call, layout);
    }
}

}  // namespace
}  // namespace redrop
