// Compiled with -mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma -mf16c.
#include "../dropout.h"

namespace redrop {

const Kernels avx512_kernels = {"avx512", dropout};

}  // namespace redrop
