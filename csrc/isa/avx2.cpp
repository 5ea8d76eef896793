// Compiled with -mavx2 -mfma -mf16c.
#include "../dropout.h"

namespace redrop {

const Kernels avx2_kernels = {"avx2", dropout};

}  // namespace redrop
