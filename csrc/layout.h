// Where the elements of a tensor stand: in memory, and in the whole that a mask is defined on.
//
// Everything is affine in the local indices: memory offset, plane, row and col are each a start
// plus one step per dimension. A window moves the start, a shared dimension has step 0, and that
// is all there is to windows and shared dimensions.
#pragma once

#include <cstdint>

namespace redrop {

constexpr int max_dims = 16;

struct Dim {
    int64_t size;
    int64_t in_stride, out_stride;  // in elements
    uint64_t plane_step, row_step, col_step;
};

struct Layout {
    int ndim;  // at least 1; the last dimension varies fastest
    Dim dims[max_dims + 1];
    uint64_t plane, row, col;  // of the first element
};

namespace {

inline int64_t count_elements(const Layout& layout) {
    int64_t n = 1;
    for (int i = 0; i < layout.ndim; ++i) n *= layout.dims[i].size;
    return n;
}

// The layout of a contiguous tensor that is the whole itself.
inline Layout whole_layout(int64_t planes, int64_t rows, int64_t cols) {
    Layout layout;
    layout.ndim = 0;
    layout.plane = layout.row = layout.col = 0;
    if (planes != 1) layout.dims[layout.ndim++] = Dim{planes, rows * cols, rows * cols, 1, 0, 0};
    if (rows != 1) layout.dims[layout.ndim++] = Dim{rows, cols, cols, 0, 1, 0};
    layout.dims[layout.ndim++] = Dim{cols, 1, 1, 0, 0, 1};
    return layout;
}

// True if `inner` goes on where `outer` makes its step, in every respect.
inline bool can_merge(const Dim& outer, const Dim& inner) {
    const uint64_t n = static_cast<uint64_t>(inner.size);
    return outer.in_stride == inner.in_stride * inner.size &&
           outer.out_stride == inner.out_stride * inner.size &&
           outer.plane_step == inner.plane_step * n && outer.row_step == inner.row_step * n &&
           outer.col_step == inner.col_step * n;
}

// The same elements in the same order with as few dimensions as possible. The last one then either
// walks along columns or shares one decision; where neither holds it gets a last one of size 1.
inline Layout merge_dims(const Layout& layout) {
    Layout out = layout;
    out.ndim = 0;
    for (int i = 0; i < layout.ndim; ++i) {
        Dim dim = layout.dims[i];
        if (dim.size == 1) continue;
        if (out.ndim > 0 && can_merge(out.dims[out.ndim - 1], dim))
            dim.size *= out.dims[--out.ndim].size;
        out.dims[out.ndim++] = dim;
    }
    const bool has_rest = out.ndim > 0 && out.dims[out.ndim - 1].col_step == 0 &&
                          (out.dims[out.ndim - 1].row_step | out.dims[out.ndim - 1].plane_step);
    if (out.ndim == 0 || has_rest) out.dims[out.ndim++] = Dim{1, 1, 1, 0, 0, 1};
    return out;
}

// True if element number i of the logical order lies at offset i, read and written.
inline bool is_linear(const Layout& layout) {
    int64_t expected = 1;
    for (int i = layout.ndim - 1; i >= 0; --i) {
        const Dim& dim = layout.dims[i];
        const bool is_next = dim.in_stride == expected && dim.out_stride == expected;
        if (dim.size != 1 && !is_next) return false;
        expected *= dim.size;
    }
    return true;
}

// Runs along the last dimension, in order, from any element on.
struct Cursor {
    const Layout& layout;
    int64_t index[max_dims + 1];
    int64_t at;                     // index in the last dimension
    int64_t in_offset, out_offset;  // these and the coordinates: of the run's element 0
    uint64_t plane, row, col;

    Cursor(const Layout& l, int64_t element) : layout(l) {
        in_offset = out_offset = 0;
        plane = l.plane;
        row = l.row;
        col = l.col;
        const int last = l.ndim - 1;
        at = element % l.dims[last].size;
        element /= l.dims[last].size;
        for (int i = last - 1; i >= 0; --i) {
            index[i] = element % l.dims[i].size;
            element /= l.dims[i].size;
            move(l.dims[i], index[i]);
        }
    }

    void move(const Dim& dim, int64_t steps) {
        in_offset += steps * dim.in_stride;
        out_offset += steps * dim.out_stride;
        plane += static_cast<uint64_t>(steps) * dim.plane_step;
        row += static_cast<uint64_t>(steps) * dim.row_step;
        col += static_cast<uint64_t>(steps) * dim.col_step;
    }

    void next_run() {
        at = 0;
        for (int i = layout.ndim - 2; i >= 0; --i) {
            const Dim& dim = layout.dims[i];
            if (++index[i] < dim.size) return move(dim, 1);
            index[i] = 0;
            move(dim, 1 - dim.size);
        }
    }
};

}  // namespace
}  // namespace redrop
