// What the binding sees of the kernels: plain structs in, one table of functions per instruction
// set. Each table is filled in a file of its own (isa/*.cpp), compiled for that set.
#pragma once

#include <cstdint>

#include "layout.h"

namespace redrop {

enum class Storage : int { float32 = 0, bfloat16 = 1, float16 = 2, float64 = 3 };

struct DropoutCall {
    uintptr_t in, out;  // may be the same tensor
    Storage storage;
    uint64_t key;
    uint32_t threshold;
    double scale;
    int threads;  // never changes a bit of the result
};

// `in` is stored as the rest is, or as a half type beside float32. Without a residual float32 comes
// in and a half type goes out: the gradient of such an `in`.
struct DropoutAddCall {
    uintptr_t in, residual, out;  // contiguous; `out` may be `residual`; no residual: 0
    Storage in_storage;
    Storage storage;  // of residual and out
    uint64_t key;
    uint32_t threshold;
    double scale;
    int threads;
};

struct GeluCall {
    uintptr_t in, bias, grad_out;  // no bias: 0; grad_out 0: forward
    uintptr_t out;                 // the result, or the gradient of `in`
    uintptr_t grad_bias;           // float32, cols elements; 0 if not wanted
    int64_t cols;                  // of the last dimension, at least 1
    bool is_tanh;
    Storage storage;  // float32 or bfloat16
    uint64_t key;
    uint32_t threshold;
    double scale;
    int threads;
};

struct RandomBitsCall {
    uintptr_t out;  // contiguous, int64
    uint64_t key;
    int threads;
};

struct Kernels {
    const char* name;
    void (*dropout)(const DropoutCall&, const Layout&);
    void (*dropout_add)(const DropoutAddCall&, const Layout&);
    void (*gelu)(const GeluCall&, const Layout&);
    void (*random_bits)(const RandomBitsCall&, const Layout&);
};

extern const Kernels portable_kernels;
#if defined(__x86_64__)
extern const Kernels avx2_kernels;
extern const Kernels avx512_kernels;
#endif

// "portable", "avx2", "avx512", or "" for the best one this machine runs. Null where the name is
// unknown or the machine cannot run it.
const Kernels* kernels_of(const char* isa);

}  // namespace redrop
