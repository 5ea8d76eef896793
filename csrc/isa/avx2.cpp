// Compiled with -mavx2 -mfma -mf16c.
#include "../dropout.h"
#include "../gelu.h"
#include "../random_bits.h"
#include "../residual.h"

namespace redrop {

const Kernels avx2_kernels = {"avx2", dropout, dropout_add, gelu, random_bits};

}  // namespace redrop
