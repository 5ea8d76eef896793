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
// 32 elements a vector; a NaN times a number keeps its low bits zero.
[[gnu::always_inline]] inline void scale_128(const Bfloat16* in, Bfloat16* out, const Kept& kept,
                                             float scale) {
    const __m512 factor = splat(scale);
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
        const Bfloat16Pair x = split_bfloat16(_mm512_loadu_si512(in + 32 * j));
        const __m512i y = join_bfloat16(Bfloat16Pair{x.even * factor, x.odd * factor});
        _mm512_storeu_si512(out + 32 * j, _mm512_maskz_mov_epi16(kept.m[j], y));
    }
}
#endif

template <class T>
struct DenseDropout {
    const T* in;
    T* out;
    typename Lanes<T>::Scalar scale;
    static constexpr int count = Lanes<T>::count;
    static constexpr int at_once = sizeof(T) == 2 ? 3 : (sizeof(T) == 4 ? 2 : 1);

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
        if (!is_kept) {
            __builtin_memset(static_cast<void*>(out + o), 0, static_cast<size_t>(n) * sizeof(T));
            return;
        }
        const Kept kept = all_alike(true);
        for (; n >= 128; n -= 128, i += 128, o += 128) whole(i, o, kept);
        const auto factor = splat(scale);
        for (; n >= count; n -= count, i += count, o += count)
            store(out + o, load(in + i) * factor);
        if (n == 0) return;
        const int left = static_cast<int>(n);
        store_first(out + o, load_first(in + i, left) * factor, left);
    }
};

// The last dimension has gaps in memory: 128 elements at a time are gathered and scattered.
template <class T>
struct StridedDropout {
    const T* in;
    T* out;
    typename Lanes<T>::Scalar scale;
    int64_t in_stride, out_stride;
    static constexpr int at_once = 1;

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
