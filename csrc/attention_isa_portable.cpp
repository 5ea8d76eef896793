// Attention for one instruction set; CMakeLists.txt gives this file its flags.
#include "attention_kernels.h"

namespace redrop {

extern const AttentionKernels attention_portable;
const AttentionKernels attention_portable{"portable", run_forward, run_backward,
                                         run_mask_gradient};

}  // namespace redrop
