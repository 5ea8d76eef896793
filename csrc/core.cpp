// redrop._core: the only C++ file that knows Python. Pointers cross as integers, because a call
// must cost well under a microsecond; src/redrop/kernels/cpu.py has checked everything before.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <stdexcept>
#include <string>

#include "attention.h"
#include "kernels.h"

namespace nb = nanobind;
using namespace redrop;

namespace {

template <class Table>
const Table& existing(const Table* table, const char* isa) {
    if (table == nullptr)
        throw std::invalid_argument(std::string("This machine has no instruction set '") + isa +
                                    "'.");
    return *table;
}

nb::list supported_isa() {
    nb::list names;
    for (const char* isa : {"avx512", "avx2", "portable"})
        if (kernels_of(isa) != nullptr) names.append(isa);
    return names;
}

// Calls one entry of the table of `isa` without holding the interpreter lock.
template <class Call>
void run(void (*Kernels::*entry)(const Call&, const Layout&), const char* isa, const Call& call,
         const Layout& layout) {
    const Kernels& kernels = existing(kernels_of(isa), isa);
    nb::gil_scoped_release release;
    (kernels.*entry)(call, layout);
}

// Asks for huge pages behind the whole ones of a stretch of memory. Only a hint: where the system
// does not know it, or is told never to, nothing happens.
void prefer_huge_pages(uintptr_t start, size_t bytes) {
#if defined(__linux__)
    constexpr uintptr_t page = uintptr_t{1} << 21;
    const uintptr_t first = (start + page - 1) & ~(page - 1), last = (start + bytes) & ~(page - 1);
    if (first < last) madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
#else
    (void)start, (void)bytes;
#endif
}

// 1 / (1 - T / 2^32), as in redrop.mask.scale.
double survivor_scale(uint32_t threshold) { return 1.0 / (1.0 - threshold / 4294967296.0); }

// A contiguous tensor that is the whole itself, and has elements.
Layout whole_layout_of(const nb::tuple& shape) {
    const size_t ndim = shape.size();
    int64_t planes = 1;
    for (size_t i = 0; i + 2 < ndim; ++i) planes *= nb::cast<int64_t>(shape[i]);
    const int64_t rows = ndim > 1 ? nb::cast<int64_t>(shape[ndim - 2]) : 1;
    const int64_t cols = ndim > 0 ? nb::cast<int64_t>(shape[ndim - 1]) : 1;
    return whole_layout(planes, rows, cols);
}

// Any strides, a part of a whole, shared dimensions. `dims` has one tuple per dimension:
// (size, in_stride, out_stride, global size, offset, is_shared).
Layout part_layout(const nb::tuple& dims) {
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
    return merge_dims(layout);
}

// Without `dims` the tensor is the whole itself.
Layout layout_of(const nb::tuple& shape, const nb::tuple& dims) {
    return dims.size() == 0 ? whole_layout_of(shape) : part_layout(dims);
}

void dropout(uintptr_t in, uintptr_t out, int storage, const nb::tuple& shape, uint64_t key,
             uint32_t threshold, int threads, const char* isa) {
    const DropoutCall call{in,  out,       static_cast<Storage>(storage),
                           key, threshold, survivor_scale(threshold),
                           threads};
    run(&Kernels::dropout, isa, call, whole_layout_of(shape));
}

void dropout_part(uintptr_t in, uintptr_t out, int storage, const nb::tuple& dims, uint64_t key,
                  uint32_t threshold, int threads, const char* isa) {
    const DropoutCall call{in,  out,       static_cast<Storage>(storage),
                           key, threshold, survivor_scale(threshold),
                           threads};
    run(&Kernels::dropout, isa, call, part_layout(dims));
}

void dropout_add(uintptr_t in, uintptr_t residual, uintptr_t out, int in_storage, int storage,
                 const nb::tuple& shape, const nb::tuple& dims, uint64_t key, uint32_t threshold,
                 int threads, const char* isa) {
    const DropoutAddCall call{in,
                              residual,
                              out,
                              static_cast<Storage>(in_storage),
                              static_cast<Storage>(storage),
                              key,
                              threshold,
                              survivor_scale(threshold),
                              threads};
    run(&Kernels::dropout_add, isa, call, layout_of(shape, dims));
}

// Forward if there is no grad_out. The last dimension of `shape` has elements.
void gelu(uintptr_t in, uintptr_t bias, uintptr_t grad_out, uintptr_t out, uintptr_t grad_bias,
          bool is_tanh, int storage, const nb::tuple& shape, const nb::tuple& dims, uint64_t key,
          uint32_t threshold, int threads, const char* isa) {
    const int64_t cols = nb::cast<int64_t>(shape[shape.size() - 1]);
    const GeluCall call{in,      bias, grad_out,
                        out,     grad_bias,
                        cols,    is_tanh,
                        static_cast<Storage>(storage),
                        key,     threshold,
                        survivor_scale(threshold), threads};
    run(&Kernels::gelu, isa, call, layout_of(shape, dims));
}

void random_bits(uintptr_t out, const nb::tuple& dims, uint64_t key, int threads,
                 const char* isa) {
    run(&Kernels::random_bits, isa, RandomBitsCall{out, key, threads}, part_layout(dims));
}

nb::list supported_attention_isa() {
    nb::list names;
    for (const char* isa : {"avx512bf16", "avx512", "avx2", "portable"})
        if (attention_kernels(isa) != nullptr) names.append(isa);
    return names;
}

void run_attention(void (*AttentionKernels::*pass)(const AttentionParams&),
                   const AttentionParams& params, const char* isa) {
    const AttentionKernels& kernels = existing(attention_kernels(isa), isa);
    nb::gil_scoped_release release;
    (kernels.*pass)(params);
}

// The fields of AttentionParams under their own names.
void bind_attention(nb::module_& m) {
    using namespace nb::literals;
    using Params = AttentionParams;
    nb::class_<AttentionTensor>(m, "AttentionTensor")
        .def(nb::new_([](uintptr_t data, int64_t batch, int64_t head, int64_t token) {
                 return AttentionTensor{data, batch, head, token};
             }),
             "data"_a, "batch"_a, "head"_a, "token"_a);
    nb::class_<Params> params(m, "AttentionParams");
    params.def(nb::init<>());
#define FIELD(name) params.def_rw(#name, &Params::name)
    FIELD(query), FIELD(key), FIELD(value), FIELD(out), FIELD(normalizer);
    FIELD(grad_out), FIELD(grad_query), FIELD(grad_key), FIELD(grad_value);
    FIELD(mask_kind), FIELD(mask), FIELD(grad_mask);
    FIELD(mask_batch), FIELD(mask_head), FIELD(mask_query), FIELD(mask_key);
    FIELD(grad_mask_batch), FIELD(grad_mask_head), FIELD(grad_mask_query), FIELD(grad_mask_key);
    FIELD(batch), FIELD(heads), FIELD(kv_heads), FIELD(queries), FIELD(keys);
    FIELD(head_size), FIELD(value_size), FIELD(cumulative_queries), FIELD(cumulative_keys);
    FIELD(storage), FIELD(is_causal), FIELD(scale), FIELD(threads);
    FIELD(has_dropout), FIELD(dropout_key), FIELD(threshold), FIELD(dropout_scale);
    FIELD(sample_offset), FIELD(head_offset), FIELD(heads_global);
    FIELD(query_offset), FIELD(key_offset);
#undef FIELD
    m.def("attention_isa", &supported_attention_isa, "Sets with attention kernels, best first.");
    m.def("attention_forward", [](const Params& p, const char* isa) {
        run_attention(&AttentionKernels::forward, p, isa);
    }, "params"_a, "isa"_a = "");
    m.def("attention_backward", [](const Params& p, const char* isa) {
        run_attention(&AttentionKernels::backward, p, isa);
    }, "params"_a, "isa"_a = "");
    m.def("attention_mask_gradient", [](const Params& p, const char* isa) {
        run_attention(&AttentionKernels::mask_gradient, p, isa);
    }, "params"_a, "isa"_a = "");
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
    m.def("dropout_add", &dropout_add, "in_ptr"_a, "residual_ptr"_a, "out_ptr"_a, "in_storage"_a,
          "storage"_a, "shape"_a, "dims"_a, "key"_a, "threshold"_a, "threads"_a, "isa"_a = "");
    m.def("gelu", &gelu, "in_ptr"_a, "bias_ptr"_a, "grad_out_ptr"_a, "out_ptr"_a, "grad_bias_ptr"_a,
          "is_tanh"_a, "storage"_a, "shape"_a, "dims"_a, "key"_a, "threshold"_a, "threads"_a,
          "isa"_a = "");
    m.def("random_bits", &random_bits, "out_ptr"_a, "dims"_a, "key"_a, "threads"_a,
          "isa"_a = "");
    m.def("prefer_huge_pages", &prefer_huge_pages, "start"_a, "size"_a);
    bind_attention(m);
}
