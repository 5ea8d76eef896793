// Attention for one instruction set; CMakeLists.txt gives this file its flags.
#include "attention_kernels.h"

namespace redrop {

extern const AttentionKernels attention_avx512bf16;
const AttentionKernels attention_avx512bf16{"avx512bf16", run_forward, run_backward,
                                         run_mask_gradient};

}  // namespace redrop
