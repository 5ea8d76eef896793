// Dropout, dropout + residual, GELU and random bits: shapes, windows, strides, shared dimensions.
#include "drive.h"

#include <functional>

#include "kernels.h"

using namespace redrop;

namespace {

const char* const sets[] = {"portable", "avx2", "avx512"};
constexpr size_t element_bytes[] = {4, 2, 2, 8};  // in the order of Storage
constexpr uint32_t thresholds[] = {0x1999999A, 0x80000000, 3};  // the first has ties to settle

struct Shape {
    int64_t planes, rows, cols;
};

// Rows shorter than a group, of whole groups, of whole vectors and one more, and enough elements
// for several pieces of work.
constexpr Shape shapes[] = {{1, 1, 1},   {1, 1, 7},   {1, 3, 8},    {1, 1, 129}, {2, 5, 9},
                            {3, 4, 24},  {2, 3, 200}, {1, 9, 1025}, {3, 70, 40}, {1, 2, 0},
                            {2, 600, 3}, {5, 7, 96},  {1, 1, 9000}};

// Where a tensor stands in the whole, how it lies in memory, and which dimensions share.
struct Place {
    uint64_t plane, row, col;
    int64_t in_gap, out_gap;  // memory step of the last dimension
    int shared;               // bit 0: columns, 1: rows, 2: planes
};

constexpr Place places[] = {{0, 0, 0, 1, 1, 0}, {2, 3, 5, 1, 1, 0}, {0, 1, 8, 1, 1, 0},
                            {0, 0, 3, 2, 1, 0}, {1, 0, 0, 1, 3, 0}, {0, 0, 1, 2, 2, 1},
                            {0, 0, 0, 1, 1, 1}, {0, 4, 7, 1, 1, 2}, {0, 0, 0, 1, 1, 3},
                            {3, 0, 0, 1, 1, 4}, {0, 0, 0, 1, 1, 6}, {0, 0, 0, 1, 1, 7}};

Layout layout_of(const Shape& s, const Place& at) {
    const auto step = [&](int dim) { return static_cast<uint64_t>((at.shared >> dim & 1) == 0); };
    Layout layout{};
    layout.ndim = 3;
    layout.dims[0] = Dim{s.planes, s.rows * s.cols * at.in_gap, s.rows * s.cols * at.out_gap,
                         step(2), 0, 0};
    layout.dims[1] = Dim{s.rows, s.cols * at.in_gap, s.cols * at.out_gap, 0, step(1), 0};
    layout.dims[2] = Dim{s.cols, at.in_gap, at.out_gap, 0, 0, step(0)};
    layout.plane = at.plane * step(2);
    layout.row = at.row * step(1);
    layout.col = at.col * step(0);
    return merge_dims(layout);
}

size_t bytes_of(const Shape& s, int64_t gap, size_t element) {
    const int64_t n = s.planes * s.rows * s.cols;
    return n == 0 ? 0 : static_cast<size_t>((n - 1) * gap + 1) * element;
}

// Runs `call(kernels, threads)` for all of both and demands that what it returns never changes.
int compare(const char* what,
            const std::function<std::vector<uint8_t>(const Kernels&, int threads)>& call) {
    std::vector<uint8_t> first;
    int calls = 0;
    for (const char* isa : sets) {
        const Kernels* kernels = kernels_of(isa);
        if (kernels == nullptr) continue;
        for (int threads = 1; threads <= 3; ++threads, ++calls) {
            const std::vector<uint8_t> result = call(*kernels, threads);
            if (calls == 0) first = result;
            demand(result == first, what, isa, threads);
        }
    }
    return calls;
}

double scale_of(uint32_t threshold) { return 1.0 / (1.0 - threshold / 4294967296.0); }

int drive_dropout(const Shape& shape, const Place& place, Storage storage, uint32_t threshold) {
    const size_t element = element_bytes[static_cast<int>(storage)];
    const bool at_end = (threshold & 1) == 0;
    const Guarded in(bytes_of(shape, place.in_gap, element), at_end);
    in.fill(element, threshold);
    const Layout layout = layout_of(shape, place);
    return compare("dropout", [&](const Kernels& kernels, int threads) {
        const Guarded out(bytes_of(shape, place.out_gap, element), at_end);
        kernels.dropout(DropoutCall{in.address(), out.address(), storage, drive_key, threshold,
                                    scale_of(threshold), threads},
                        layout);
        return out.copy();
    });
}

// `in_storage` other than `storage`: a half type beside float32. Then comes the gradient too.
int drive_dropout_add(const Shape& shape, const Place& place, Storage in_storage, Storage storage,
                      uint32_t threshold) {
    const size_t narrow = element_bytes[static_cast<int>(in_storage)];
    const size_t element = element_bytes[static_cast<int>(storage)];
    const bool at_end = (threshold & 1) == 0;
    const size_t narrow_bytes = bytes_of(shape, 1, narrow), bytes = bytes_of(shape, 1, element);
    const Guarded in(narrow_bytes, at_end), residual(bytes, at_end);
    in.fill(narrow, 1);
    residual.fill(element, 2);
    const Layout layout = layout_of(shape, place);
    const int calls = compare("dropout_add", [&](const Kernels& kernels, int threads) {
        const Guarded out(bytes, at_end);
        kernels.dropout_add(DropoutAddCall{in.address(), residual.address(), out.address(),
                                           in_storage, storage, drive_key, threshold,
                                           scale_of(threshold), threads},
                            layout);
        return out.copy();
    });
    if (in_storage == storage) return calls;
    return calls + compare("gradient of dropout_add", [&](const Kernels& kernels, int threads) {
        const Guarded out(narrow_bytes, at_end);
        kernels.dropout_add(DropoutAddCall{residual.address(), 0, out.address(), storage,
                                           in_storage, drive_key, threshold, scale_of(threshold),
                                           threads},
                            layout);
        return out.copy();
    });
}

// Forward, backward without and backward with the gradient of the bias.
int drive_gelu(const Shape& shape, const Place& place, Storage storage, uint32_t threshold,
               bool is_tanh) {
    if (shape.cols == 0) return 0;
    const size_t element = element_bytes[static_cast<int>(storage)];
    const size_t bytes = bytes_of(shape, 1, element);
    const size_t cols = static_cast<size_t>(shape.cols);
    const Guarded in(bytes), upstream(bytes), bias(cols * element);
    in.fill(element, 1);
    upstream.fill(element, 2);
    bias.fill(element, 3);
    const Layout layout = layout_of(shape, place);
    int calls = 0;
    for (int pass = 0; pass < 3; ++pass)
        calls += compare("gelu", [&](const Kernels& kernels, int threads) {
            const Guarded out(bytes), sums(cols * 4);
            kernels.gelu(GeluCall{in.address(), pass == 1 ? 0 : bias.address(),
                                  pass == 0 ? 0 : upstream.address(), out.address(),
                                  pass == 2 ? sums.address() : 0, shape.cols, is_tanh, storage,
                                  drive_key, threshold, scale_of(threshold), threads},
                         layout);
            std::vector<uint8_t> both = out.copy();
            const std::vector<uint8_t> bias_part = sums.copy();
            both.insert(both.end(), bias_part.begin(), bias_part.end());
            return both;
        });
    return calls;
}

int drive_random_bits(const Shape& shape, const Place& place) {
    const size_t bytes = bytes_of(shape, 1, 8);
    const Layout layout = layout_of(shape, place);
    return compare("random_bits", [&](const Kernels& kernels, int threads) {
        const Guarded out(bytes, (place.col & 1) == 0);
        kernels.random_bits(RandomBitsCall{out.address(), drive_key, threads}, layout);
        return out.copy();
    });
}

// Tensors of several huge pages are cut differently, and those above 2^20 elements are added in
// another way.
int drive_large() {
    const Shape shape{1, 3, (1 << 20) + 11};
    int calls = drive_dropout(shape, places[1], Storage::float64, thresholds[0]);
    for (const Storage storage : {Storage::float32, Storage::bfloat16})
        calls += drive_dropout_add(shape, places[0], storage, storage, thresholds[0]);
    return calls + drive_dropout_add(shape, places[1], Storage::bfloat16, Storage::float32,
                                     thresholds[2]);
}

}  // namespace

int drive_elementwise() {
    int calls = drive_large(), turn = 0;
    for (const Shape& shape : shapes)
        for (const Place& place : places) {
            const uint32_t threshold = thresholds[turn++ % 3];
            if (place.in_gap == 1 && place.out_gap == 1) calls += drive_random_bits(shape, place);
            for (const Storage storage :
                 {Storage::float32, Storage::bfloat16, Storage::float16, Storage::float64}) {
                calls += drive_dropout(shape, place, storage, threshold);
                if (place.in_gap != 1 || place.out_gap != 1) continue;
                calls += drive_dropout_add(shape, place, storage, storage, threshold);
                if (storage == Storage::bfloat16 || storage == Storage::float16)
                    calls += drive_dropout_add(shape, place, storage, Storage::float32, threshold);
                if (storage == Storage::float32 || storage == Storage::bfloat16)
                    calls += drive_gelu(shape, place, storage, threshold, (turn & 1) == 0);
            }
        }
    return calls;
}

// One element too many, in the last vector, with an unreadable page behind the tensor.
void plant_overflow(const char* isa) {
    const Guarded in(129 * 4), out(129 * 4);
    const Layout layout = whole_layout(1, 1, 130);
    kernels_of(isa)->dropout(DropoutCall{in.address(), out.address(), Storage::float32, drive_key,
                                         1u << 31, 2.0, 1},
                             layout);
}

// One element too many, in a whole vector, in memory that only the sanitizer guards.
void plant_heap_overflow(const char* isa) {
    std::vector<float> in(128), out(127);
    const Layout layout = whole_layout(1, 1, 128);
    kernels_of(isa)->dropout(DropoutCall{reinterpret_cast<uintptr_t>(in.data()),
                                         reinterpret_cast<uintptr_t>(out.data()),
                                         Storage::float32, drive_key, 1u << 31, 2.0, 1},
                             layout);
}

// All rows are written to the same place, by whichever thread has them.
void plant_race(const char* isa) {
    const Guarded in(8 * 1024 * 4), out(1024 * 4);
    Layout layout = whole_layout(1, 8, 1024);
    layout.dims[0].out_stride = 0;
    kernels_of(isa)->dropout(DropoutCall{in.address(), out.address(), Storage::float32, drive_key,
                                         1u << 31, 2.0, 2},
                             layout);
}

void plant_undefined(const char*) {
    volatile int by = 32;
    std::printf("%d\n", 1 << by);
}
