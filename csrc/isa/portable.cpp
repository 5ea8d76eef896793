// Any machine: no instruction beyond the compiler's default.
#include "../dropout.h"
#include "../gelu.h"
#include "../random_bits.h"
#include "../residual.h"

namespace redrop {

const Kernels portable_kernels = {"portable", dropout, dropout_add, gelu, random_bits};

}  // namespace redrop
