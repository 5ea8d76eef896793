// Any machine: no instruction beyond the compiler's default.
#include "../dropout.h"

namespace redrop {

const Kernels portable_kernels = {"portable", dropout};

}  // namespace redrop
