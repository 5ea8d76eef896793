// Which attention kernels this machine runs.
#include <cstring>

#include "attention.h"

namespace redrop {

extern const AttentionKernels attention_portable;
#if defined(__x86_64__)
extern const AttentionKernels attention_avx2, attention_avx512, attention_avx512bf16;
#endif

namespace {

struct Choice {
    const AttentionKernels* kernels;
    bool runs_here;
};

}  // namespace

const AttentionKernels* attention_kernels(const char* isa) {
#if defined(__x86_64__)
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                        __builtin_cpu_supports("avx512vl");
#endif
    const Choice best_first[] = {
#if defined(__x86_64__)
        {&attention_avx512bf16, avx512 && __builtin_cpu_supports("avx512bf16")},
        {&attention_avx512, avx512},
        {&attention_avx2, avx2},
#endif
        {&attention_portable, true},
    };
    for (const Choice& choice : best_first)
        if (choice.runs_here && (*isa == '\0' || std::strcmp(isa, choice.kernels->isa) == 0))
            return choice.kernels;
    return nullptr;
}

}  // namespace redrop
