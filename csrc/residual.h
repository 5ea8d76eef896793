// out = residual + dropout(in), all three contiguous; the sum is formed before anything is rounded
// to a half type. The gradient of `residual` is that of `out`, the gradient of `in` is dropout's.
//
// Under autocast `in` is of a half type and the others are float32. It is widened on its way in,
// and the gradient of `in` is rounded on its way out: without a residual, out = dropout(in).
#pragma once

#include "kernels.h"
#include "simd.h"
#include "walk.h"

namespace redrop {
namespace {

// What is added to what was kept.
template <class T>
struct Residual {
    const T* from;
    Residual at(int64_t i) const { return Residual{from + i}; }
    [[gnu::always_inline]] void prefetch() const { prefetch_128(from); }
    template <class Vector>
    [[gnu::always_inline]] Vector plus(int i, Vector kept) const {
        return load(from + i) + kept;
    }
    template <class Vector>
    [[gnu::always_inline]] Vector plus_first(int i, Vector kept, int n) const {
        return load_first(from + i, n) + kept;
    }
};

struct NoResidual {
    NoResidual at(int64_t) const { return *this; }
    void prefetch() const {}
    template <class Vector>
    Vector plus(int, Vector kept) const { return kept; }
    template <class Vector>
    Vector plus_first(int, Vector kept, int) const { return kept; }
};

// out = residual + (keep ? in * scale : 0) for 128 elements side by side. Vectors of `in` and `out`
// have the same number of lanes: a half type is computed in float32.
template <class In, class Added, class Out>
[[gnu::always_inline]] inline void add_128(const In* in, Added residual, Out* out,
                                           const Kept& kept, typename Lanes<In>::Scalar scale) {
    constexpr int count = Lanes<In>::count;
#pragma GCC unroll 64
    for (int j = 0; j < 128 / count; ++j) {
        const int i = j * count;
        store(out + i, residual.plus(i, select(kept, j, load(in + i) * scale)));
    }
}

#if defined(REDROP_AVX512)
// 32 elements a vector. What is dropped is zero before it is multiplied. All NaNs have zeros in
// their low bits: those of `in` and `residual`, and the one of infinity minus infinity.
[[gnu::always_inline]] inline void add_128(const Bfloat16* in, Residual<Bfloat16> residual,
                                           Bfloat16* out, const Kept& kept, float scale) {
    const __m512 factor = splat(scale);
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
        const __m512i x = _mm512_maskz_mov_epi16(kept.m[j], _mm512_loadu_si512(in + 32 * j));
        const Bfloat16Pair a = split_bfloat16(x);
        const Bfloat16Pair b = split_bfloat16(_mm512_loadu_si512(residual.from + 32 * j));
        const Bfloat16Pair sum{b.even + a.even * factor, b.odd + a.odd * factor};
        _mm512_storeu_si512(out + 32 * j, join_bfloat16(sum));
    }
}

// As round_to_bfloat16, for a product: its NaNs are quiet, so that leaving them as they are is
// enough. The result is in the high half of each lane.
[[gnu::always_inline]] inline __m512i round_product(__m512 v) {
    const __m512i bits = _mm512_castps_si512(v);
    const __m512i tie = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i up = _mm512_add_epi32(tie, _mm512_set1_epi32(0x7FFF));
    return _mm512_mask_add_epi32(bits, _mm512_cmp_ps_mask(v, v, _CMP_ORD_Q), bits, up);
}

// The high halves of two vectors, in order.
[[gnu::always_inline]] inline __m512i high_halves(__m512i first, __m512i second) {
    // Words 1, 3, 5, ... 63 of both, two to a lane.
    const __m512i odd = _mm512_setr_epi32(
        0x00030001, 0x00070005, 0x000B0009, 0x000F000D, 0x00130011, 0x00170015, 0x001B0019,
        0x001F001D, 0x00230021, 0x00270025, 0x002B0029, 0x002F002D, 0x00330031, 0x00370035,
        0x003B0039, 0x003F003D);
    return _mm512_permutex2var_epi16(first, odd, second);
}

// 32 elements a vector from the rounding on, which is what costs here.
[[gnu::always_inline]] inline void add_128(const float* in, NoResidual, Bfloat16* out,
                                           const Kept& kept, float scale) {
    const __m512 factor = splat(scale);
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
        const __m512i low = round_product(load(in + 32 * j) * factor);
        const __m512i high = round_product(load(in + 32 * j + 16) * factor);
        _mm512_storeu_si512(out + 32 * j,
                            _mm512_maskz_mov_epi16(kept.m[j], high_halves(low, high)));
    }
}
#endif

template <class In, class Added, class Out, int run, bool from_memory>
struct DropoutAdd {
    const In* in;
    Added residual;
    Out* out;
    typename Lanes<In>::Scalar scale;
    static constexpr int count = Lanes<In>::count;
    static constexpr int at_once = run;

    static constexpr int64_t in_step() { return 1; }
    static constexpr int64_t out_step() { return 1; }

    [[gnu::always_inline]] void fetch(int64_t i) const {
        prefetch_128(in + i);
        residual.at(i).prefetch();
    }

    [[gnu::always_inline]] void apply(int64_t i, int64_t, const Kept& kept) const {
        add_128(in + i, residual.at(i), out + i, kept, scale);
    }

    [[gnu::always_inline]] void whole(int64_t i, int64_t o, const Kept& kept) const {
        fetch(i);
        apply(i, o, kept);
    }

    void part(int64_t i, int64_t, const Kept& kept, int n) const {
        const Added added = residual.at(i);
#pragma GCC unroll 64
        for (int j = 0; j < 128 / count; ++j) {
            const int left = n - j * count < count ? n - j * count : count;
            if (left <= 0) return;
            const int at = j * count;
            const auto x = select(kept, j, load_first(in + i + at, left) * scale);
            store_first(out + i + at, added.plus_first(at, x, left), left);
        }
    }

    void shared(int64_t i, int64_t o, int64_t n, bool is_kept) const {
        const Kept kept = all_alike(is_kept);
        for (; n >= 128; n -= 128, i += 128) whole(i, o, kept);
        if (n > 0) part(i, o, kept, static_cast<int>(n));
    }
};

template <class In, class Added, class Out, int run>
constexpr bool decides_first<DropoutAdd<In, Added, Out, run, true>> = true;

template <class In, class Out, int run, bool from_memory, class Added>
inline void add_to(Added residual, const DropoutAddCall& call, const Layout& layout) {
    const DropoutAdd<In, Added, Out, run, from_memory> operation{
        reinterpret_cast<const In*>(call.in), residual, reinterpret_cast<Out*>(call.out),
        static_cast<typename Lanes<In>::Scalar>(call.scale)};
    walk_parallel(layout, Rule{call.key, call.threshold}, operation, call.threads);
}

template <class In, class Out, int run, bool from_memory>
inline void dropout_add_as(const DropoutAddCall& call, const Layout& layout) {
    const Residual<Out> residual{reinterpret_cast<const Out*>(call.residual)};
    add_to<In, Out, run, from_memory>(residual, call, layout);
}

inline bool is_from_memory(const Layout& layout) {
    constexpr int64_t cached = 1 << 20;  // elements; three tensors of 4 MiB
    return count_elements(layout) > cached;
}

// From memory, float32 wants short bursts (walk.h); from a cache, fast decisions.
inline void dropout_add_float32(const DropoutAddCall& call, const Layout& layout) {
    if (is_from_memory(layout)) return dropout_add_as<float, float, 1, true>(call, layout);
    dropout_add_as<float, float, 2, false>(call, layout);
}

// A half type beside float32.
template <class Half>
inline void dropout_add_mixed(const DropoutAddCall& call, const Layout& layout) {
    if (is_from_memory(layout)) return dropout_add_as<Half, float, 2, true>(call, layout);
    dropout_add_as<Half, float, 2, false>(call, layout);
}

// The gradient of that half type from one in float32.
template <class Half>
inline void dropout_narrow(const DropoutAddCall& call, const Layout& layout) {
    if (is_from_memory(layout)) return add_to<float, Half, 2, true>(NoResidual{}, call, layout);
    add_to<float, Half, 2, false>(NoResidual{}, call, layout);
}

template <class Half>
inline void dropout_add_half(const DropoutAddCall& call, const Layout& layout) {
    if (call.residual == 0) return dropout_narrow<Half>(call, layout);
    dropout_add_as<Half, Half, 3, false>(call, layout);
}

inline void dropout_add(const DropoutAddCall& call, const Layout& layout) {
    if (call.storage == Storage::float32) {
        if (call.in_storage == Storage::bfloat16) return dropout_add_mixed<Bfloat16>(call, layout);
        if (call.in_storage == Storage::float16) return dropout_add_mixed<Float16>(call, layout);
        return dropout_add_float32(call, layout);
    }
    if (call.storage == Storage::bfloat16) return dropout_add_half<Bfloat16>(call, layout);
    if (call.storage == Storage::float16) return dropout_add_half<Float16>(call, layout);
    dropout_add_as<double, double, 1, false>(call, layout);
}

}  // namespace
}  // namespace redrop
