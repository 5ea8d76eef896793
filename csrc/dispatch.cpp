// Which elementwise kernels this machine runs; attention_dispatch.cpp is its twin.
#include <cstring>

#include "kernels.h"

namespace redrop {

namespace {

struct Choice {
    const Kernels* kernels;
    bool runs_here;
};

}  // namespace

const Kernels* kernels_of(const char* isa) {
#if defined(__x86_64__)
    const bool wide = __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
    const bool avx2 = wide && __builtin_cpu_supports("avx2");
    const bool avx512 = wide && __builtin_cpu_supports("avx512f") &&
                        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                        __builtin_cpu_supports("avx512vl");
#endif
    const Choice best_first[] = {
#if defined(__x86_64__)
        {&avx512_kernels, avx512},
        {&avx2_kernels, avx2},
#endif
        {&portable_kernels, true},
    };
    for (const Choice& choice : best_first)
        if (choice.runs_here && (*isa == '\0' || std::strcmp(isa, choice.kernels->name) == 0))
            return choice.kernels;
    return nullptr;
}

}  // namespace redrop
