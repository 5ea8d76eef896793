// Compiled with -mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma -mf16c.
#include "../dropout.h"
#include "../gelu.h"
#include "../random_bits.h"
#include "../residual.h"

namespace redrop {

const Kernels avx512_kernels = {"avx512", dropout, dropout_add, gelu, random_bits};

}  // namespace redrop
