// out = residual + dropout(in), all three contiguous; the sum is formed before anything is rounded
// to a half type. The gradient of `residual` is that of `out`, the gradient of `in` is dropout's.
#pragma once

#include "kernels.h"
#include "simd.h"
#include "walk.h"

namespace redrop {
namespace {

// out = residual + (keep ? in * scale : 0) for 128 elements side by side.
template <class T>
[[gnu::always_inline]] inline void add_128(const T* in, const T* residual, T* out,
                                           const Kept& kept, typename Lanes<T>::Scalar scale) {
    constexpr int count = Lanes<T>::count;
#pragma GCC unroll 64
    for (int j = 0; j < 128 / count; ++j) {
        const int at = j * count;
        store(out + at, load(residual + at) + select(kept, j, load(in + at) * scale));
    }
}

#if defined(REDROP_AVX512)
// 32 elements a vector. What is dropped is zero before it is multiplied. All NaNs have zeros in
// their low bits: those of `in` and `residual`, and the one of infinity minus infinity.
[[gnu::always_inline]] inline void add_128(const Bfloat16* in, const Bfloat16* residual,
                                           Bfloat16* out, const Kept& kept, float scale) {
    const __m512 factor = splat(scale);
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
        const __m512i x = _mm512_maskz_mov_epi16(kept.m[j], _mm512_loadu_si512(in + 32 * j));
        const Bfloat16Pair a = split_bfloat16(x);
        const Bfloat16Pair b = split_bfloat16(_mm512_loadu_si512(residual + 32 * j));
        const Bfloat16Pair sum{b.even + a.even * factor, b.odd + a.odd * factor};
        _mm512_storeu_si512(out + 32 * j, join_bfloat16(sum));
    }
}
#endif

template <class T, int run>
struct DropoutAdd {
    const T* in;
    const T* residual;
    T* out;
    typename Lanes<T>::Scalar scale;
    static constexpr int count = Lanes<T>::count;
    static constexpr int at_once = run;

    static constexpr int64_t in_step() { return 1; }
    static constexpr int64_t out_step() { return 1; }

    [[gnu::always_inline]] void whole(int64_t i, int64_t, const Kept& kept) const {
        prefetch_128(in + i);
        prefetch_128(residual + i);
        add_128(in + i, residual + i, out + i, kept, scale);
    }

    void part(int64_t i, int64_t, const Kept& kept, int n) const {
#pragma GCC unroll 64
        for (int j = 0; j < 128 / count; ++j) {
            const int left = n - j * count < count ? n - j * count : count;
            if (left <= 0) return;
            const int64_t at = i + j * count;
            const auto sum = load_first(residual + at, left) +
                             select(kept, j, load_first(in + at, left) * scale);
            store_first(out + at, sum, left);
        }
    }

    void shared(int64_t i, int64_t o, int64_t n, bool is_kept) const {
        const Kept kept = all_alike(is_kept);
        for (; n >= 128; n -= 128, i += 128) whole(i, o, kept);
        if (n > 0) part(i, o, kept, static_cast<int>(n));
    }
};

template <class T, int run>
inline void dropout_add_as(const DropoutAddCall& call, const Layout& layout) {
    using Scalar = typename Lanes<T>::Scalar;
    const DropoutAdd<T, run> operation{
        reinterpret_cast<const T*>(call.in), reinterpret_cast<const T*>(call.residual),
        reinterpret_cast<T*>(call.out), static_cast<Scalar>(call.scale)};
    walk_parallel(layout, Rule{call.key, call.threshold}, operation, call.threads);
}

// From memory, float32 wants short bursts (walk.h); from a cache, fast decisions.
inline void dropout_add_float32(const DropoutAddCall& call, const Layout& layout) {
    constexpr int64_t cached = 1 << 20;  // elements; three tensors of 4 MiB
    if (count_elements(layout) <= cached) return dropout_add_as<float, 2>(call, layout);
    dropout_add_as<float, 1>(call, layout);
}

inline void dropout_add(const DropoutAddCall& call, const Layout& layout) {
    switch (call.storage) {
        case Storage::float32: return dropout_add_float32(call, layout);
        case Storage::bfloat16: return dropout_add_as<Bfloat16, 3>(call, layout);
        case Storage::float16: return dropout_add_as<Float16, 3>(call, layout);
        case Storage::float64: return dropout_add_as<double, 1>(call, layout);
    }
}

}  // namespace
}  // namespace redrop
