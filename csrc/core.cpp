// redrop._core: the only C++ file that knows Python. Pointers cross as integers, because a call
// must cost well under a microsecond; src/redrop/kernels/cpu.py has checked everything before.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>

#include <stdexcept>
#include <string>

#include "kernels.h"

namespace nb = nanobind;
using namespace redrop;

namespace {

// Best first. Which sets this machine can run does not change while it runs.
const Kernels* const all_kernels[] = {
#if defined(__x86_64__)
    &avx512_kernels,
    &avx2_kernels,
#endif
    &portable_kernels,
};

bool is_supported(const Kernels& kernels) {
#if defined(__x86_64__)
    if (&kernels == &avx512_kernels)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
    if (&kernels == &avx2_kernels)
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
               __builtin_cpu_supports("f16c");
#endif
    return &kernels == &portable_kernels;
}

const Kernels& best_kernels() {
    for (const Kernels* kernels : all_kernels)
        if (is_supported(*kernels)) return *kernels;
    return portable_kernels;
}

const Kernels& named_kernels(const char* isa) {
    static const Kernels& best = best_kernels();
    if (isa[0] == '\0') return best;
    for (const Kernels* kernels : all_kernels)
        if (std::string(isa) == kernels->name && is_supported(*kernels)) return *kernels;
    throw std::invalid_argument(std::string("This machine has no instruction set '") + isa + "'.");
}

nb::list supported_isa() {
    nb::list names;
    for (const Kernels* kernels : all_kernels)
        if (is_supported(*kernels)) names.append(kernels->name);
    return names;
}

void run(const char* isa, const DropoutCall& call, const Layout& layout) {
    const Kernels& kernels = named_kernels(isa);
    nb::gil_scoped_release release;
    kernels.dropout(call, layout);
}

// 1 / (1 - T / 2^32), as in redrop.mask.scale.
double survivor_scale(uint32_t threshold) { return 1.0 / (1.0 - threshold / 4294967296.0); }

// A contiguous tensor that is the whole itself, and has elements.
void dropout(uintptr_t in, uintptr_t out, int storage, const nb::tuple& shape, uint64_t key,
             uint32_t threshold, int threads, const char* isa) {
    const size_t ndim = shape.size();
    int64_t planes = 1;
    for (size_t i = 0; i + 2 < ndim; ++i) planes *= nb::cast<int64_t>(shape[i]);
    const int64_t rows = ndim > 1 ? nb::cast<int64_t>(shape[ndim - 2]) : 1;
    const int64_t cols = ndim > 0 ? nb::cast<int64_t>(shape[ndim - 1]) : 1;
    const DropoutCall call{in,  out,       static_cast<Storage>(storage),
                           key, threshold, survivor_scale(threshold),
                           threads};
    run(isa, call, merge_dims(whole_layout(planes, rows, cols)));
}

// Any strides, a part of a whole, shared dimensions. `dims` has one tuple per dimension:
// (size, in_stride, out_stride, global size, offset, is_shared).
void dropout_part(uintptr_t in, uintptr_t out, int storage, const nb::tuple& dims, uint64_t key,
                  uint32_t threshold, int threads, const char* isa) {
    const int ndim = static_cast<int>(dims.size());
    if (ndim > max_dims) throw std::invalid_argument("Too many dimensions.");
    Layout layout{};
    layout.ndim = ndim;
    uint64_t plane_step = 1;
    for (int i = ndim - 1; i >= 0; --i) {
        const nb::tuple dim = nb::cast<nb::tuple>(dims[static_cast<size_t>(i)]);
        const bool is_shared = nb::cast<bool>(dim[5]);
        const uint64_t offset = is_shared ? 0 : nb::cast<uint64_t>(dim[4]);
        const uint64_t step = is_shared ? 0 : 1;
        Dim& d = layout.dims[i];
        d = Dim{nb::cast<int64_t>(dim[0]), nb::cast<int64_t>(dim[1]), nb::cast<int64_t>(dim[2]),
                0, 0, 0};
        if (i == ndim - 1) {
            d.col_step = step;
            layout.col = offset;
        } else if (i == ndim - 2) {
            d.row_step = step;
            layout.row = offset;
        } else {
            d.plane_step = step * plane_step;
            layout.plane += offset * plane_step;
            plane_step *= nb::cast<uint64_t>(dim[3]);
        }
    }
    const DropoutCall call{in,  out,       static_cast<Storage>(storage),
                           key, threshold, survivor_scale(threshold),
                           threads};
    run(isa, call, merge_dims(layout));
}

}  // namespace

NB_MODULE(_core, m) {
    using namespace nb::literals;
    m.doc() = "The native kernels of redrop. Nothing is checked here; call redrop.kernels.";
    m.def("isa", &supported_isa, "The instruction sets this machine can run, best first.");
    m.def("dropout", &dropout, "in_ptr"_a, "out_ptr"_a, "storage"_a, "shape"_a, "key"_a,
          "threshold"_a, "threads"_a, "isa"_a = "");
    m.def("dropout_part", &dropout_part, "in_ptr"_a, "out_ptr"_a, "storage"_a, "dims"_a, "key"_a,
          "threshold"_a, "threads"_a, "isa"_a = "");
}
