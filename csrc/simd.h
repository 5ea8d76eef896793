// Vectors of numbers for the instruction set this file is compiled for: what an elementwise kernel
// needs, so that it is written once. Arithmetic is that of GCC's and Clang's vector types (+ - *).
//
//   Lanes<T>::Vector, ::count   the vector that computes on elements stored as T, and its lanes
//   load, store                 whole vectors, any alignment; half types are computed in float32
//   load_first, store_first     only the first n elements are touched
//   select(kept, j, v)          v where columns [j*count, (j+1)*count) of 128 are kept, or 0
#pragma once

#include <cstddef>
#include <cstdint>

#include "keep.h"

namespace redrop {
namespace {

struct Bfloat16 {
    uint16_t bits;
};
struct Float16 {
    uint16_t bits;
};

}  // namespace
}  // namespace redrop

#if defined(REDROP_AVX512)
#include "simd_avx512.h"
#elif defined(REDROP_AVX2)
#include "simd_avx2.h"
#else
#include "simd_portable.h"
#endif

namespace redrop {
namespace {

template <class T>
struct Lanes {
    using Scalar = float;
    using Vector = Floats;
    static constexpr int count = sizeof(Floats) / sizeof(float);
};

template <>
struct Lanes<double> {
    using Scalar = double;
    using Vector = Doubles;
    static constexpr int count = sizeof(Doubles) / sizeof(double);
};

// What comparing two vectors of floats gives: all bits of a lane set, or none.
using Ints = decltype(Floats{} < Floats{});

inline Floats splat(float x) { return x - Floats{}; }
inline Doubles splat(double x) { return x - Doubles{}; }

// Fetches what will be read in 16 to 32 vectors' time. Between its bursts of loads a kernel
// computes decisions for so long that hardware prefetching loses track: on a Zen 5 this makes a
// tensor that comes from memory 2.5 times faster. Prefetching past the end of a tensor is harmless.
template <class T>
[[gnu::always_inline]] inline void prefetch_128(const T* from) {
    constexpr int ahead = 2048, line = 64;  // bytes
    const char* p = reinterpret_cast<const char*>(from) + ahead;
#pragma GCC unroll 16
    for (int i = 0; i < 128 * static_cast<int>(sizeof(T)) / line; ++i)
        __builtin_prefetch(p + i * line, 0, 3);
}

#if !defined(REDROP_AVX512)
// Without masked memory operations the last few elements go through a buffer.
template <class T>
inline typename Lanes<T>::Vector load_first(const T* from, int n) {
    T buffer[Lanes<T>::count] = {};
    __builtin_memcpy(buffer, from, static_cast<size_t>(n) * sizeof(T));
    return load(buffer);
}

template <class T>
inline void store_first(T* to, typename Lanes<T>::Vector v, int n) {
    T buffer[Lanes<T>::count];
    store(buffer, v);
    __builtin_memcpy(to, buffer, static_cast<size_t>(n) * sizeof(T));
}
#endif

}  // namespace
}  // namespace redrop
