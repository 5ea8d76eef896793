// Compiled with -mavx2 -mfma -mf16c.
#include "../dropout.h"
#include "../gelu.h"
#include "../residual.h"

namespace redrop {

const Kernels avx2_kernels = {"avx2", dropout, dropout_add, gelu};

}  // namespace redrop
