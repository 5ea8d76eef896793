// out = residual + dropout(in), all three contiguous; the sum is formed before anything is rounded
// to a half type. The gradient of `residual` is that of `out`, the gradient of `in` is dropout's.
#pragma once

#include "kernels.h"
#include "simd.h"
#include "walk.h"

namespace redrop {
namespace {

template <class T>
struct DropoutAdd {
    const T* in;
    const T* residual;
    T* out;
    typename Lanes<T>::Scalar scale;
    static constexpr int count = Lanes<T>::count;

    static constexpr int64_t in_step() { return 1; }
    static constexpr int64_t out_step() { return 1; }

    [[gnu::always_inline]] void whole(int64_t i, int64_t, const Kept& kept) const {
        prefetch_128(in + i);
        prefetch_128(residual + i);
#pragma GCC unroll 64
        for (int j = 0; j < 128 / count; ++j) {
            const int64_t at = i + j * count;
            store(out + at, load(residual + at) + select(kept, j, load(in + at) * scale));
        }
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

template <class T>
inline void dropout_add_as(const DropoutAddCall& call, const Layout& layout) {
    using Scalar = typename Lanes<T>::Scalar;
    const DropoutAdd<T> operation{
        reinterpret_cast<const T*>(call.in), reinterpret_cast<const T*>(call.residual),
        reinterpret_cast<T*>(call.out), static_cast<Scalar>(call.scale)};
    walk_parallel(layout, Rule{call.key, call.threshold}, operation, call.threads);
}

inline void dropout_add(const DropoutAddCall& call, const Layout& layout) {
    switch (call.storage) {
        case Storage::float32: return dropout_add_as<float>(call, layout);
        case Storage::bfloat16: return dropout_add_as<Bfloat16>(call, layout);
        case Storage::float16: return dropout_add_as<Float16>(call, layout);
        case Storage::float64: return dropout_add_as<double>(call, layout);
    }
}

}  // namespace
}  // namespace redrop
