// out = dropout(gelu(in + bias)), and its gradients. The bias runs along the last dimension; all
// tensors are contiguous. Everything between loading and storing is float32.
//
//   exact:  gelu(z) = z P(Z < z)                gelu'(z) = P(Z < z) + z density(z)
//   tanh:   gelu(z) = z s(z)                    gelu'(z) = s + z s (1 - s) (2u)'
//           s = 1 / (1 + exp(-2u)),  u = sqrt(2 / pi) (z + 0.044715 z^3);  (1 + tanh u) / 2 = s
//   grad_in = keep ? grad_out * scale * gelu'(in + bias) : 0,   grad_bias = its sum over rows
//
// Hendrycks, Gimpel: Gaussian Error Linear Units. arXiv:1606.08415.
#pragma once

#include "elementary.h"
#include "kernels.h"
#include "walk.h"

namespace redrop {
namespace {

struct Exact {
    static Floats value(Floats z) { return z * normal(z).below; }
    static Floats slope(Floats z) {
        const Normal n = normal(z);
        return n.below + z * n.density;
    }
};

struct Tanh {
    static constexpr float root = 1.59576912f;        // 2 sqrt(2 / pi)
    static constexpr float cubic = 1.59576912f * 0.044715f;

    static Floats inverse_odds(Floats z) { return exponential(-z * (z * z * cubic + root)); }

    static Floats value(Floats z) { return z / (1.0f + inverse_odds(z)); }
    static Floats slope(Floats z) {
        const Floats e = inverse_odds(z), s = 1.0f / (1.0f + e);
        // 1 - s without cancellation; where e is infinite, e s would not be a number.
        const Floats rest = pick(e > 1e35f, splat(1.0f), e * s);
        return s + z * s * rest * (z * z * (3.0f * cubic) + root);
    }
};

// A row vector repeated until 128 elements can be read from any column on, whatever the width: a
// bias to be read, or sums to be added to and folded afterwards.
inline int64_t padded_width(int64_t cols) { return cols + 127; }

// What forward and backward have in common: blocks of 128, their tails, shared decisions. `Self`
// has vector(at, col, kept, j, n): n = count for a whole vector.
template <class Self, class T>
struct GeluBase {
    const T* in;
    T* out;
    const float* bias;  // padded
    int64_t cols;
    float scale;
    static constexpr int count = Lanes<T>::count;
    static constexpr int at_once = 2;

    static constexpr int64_t in_step() { return 1; }
    static constexpr int64_t out_step() { return 1; }

    [[gnu::always_inline]] void whole(int64_t i, int64_t, const Kept& kept) const {
        const Self& self = static_cast<const Self&>(*this);
        self.prefetch(i);
        const int64_t col = i % cols;
#pragma GCC unroll 64
        for (int j = 0; j < 128 / count; ++j)
            self.vector(i + j * count, col + j * count, kept, j);
    }

    void part(int64_t i, int64_t, const Kept& kept, int n) const {
        const Self& self = static_cast<const Self&>(*this);
        const int64_t col = i % cols;
        for (int j = 0; j * count < n; ++j)
            self.first(i + j * count, col + j * count, kept, j,
                       n - j * count < count ? n - j * count : count);
    }

    void shared(int64_t i, int64_t o, int64_t n, bool is_kept) const {
        const Kept kept = all_alike(is_kept);
        for (; n >= 128; n -= 128, i += 128) whole(i, o, kept);
        if (n > 0) part(i, o, kept, static_cast<int>(n));
    }
};

template <class T, class Kind>
struct GeluForward : GeluBase<GeluForward<T, Kind>, T> {
    void prefetch(int64_t i) const { prefetch_128(this->in + i); }

    [[gnu::always_inline]] Floats result(Floats x, int64_t col, const Kept& kept, int j) const {
        return select(kept, j, Kind::value(x + load(this->bias + col)) * this->scale);
    }
    [[gnu::always_inline]] void vector(int64_t at, int64_t col, const Kept& kept, int j) const {
        store(this->out + at, result(load(this->in + at), col, kept, j));
    }
    void first(int64_t at, int64_t col, const Kept& kept, int j, int n) const {
        store_first(this->out + at, result(load_first(this->in + at, n), col, kept, j), n);
    }
};

template <class T, class Kind>
struct GeluBackward : GeluBase<GeluBackward<T, Kind>, T> {
    const T* grad_out;
    float* sums;  // padded, or null: of the gradient along each column

    void prefetch(int64_t i) const {
        prefetch_128(this->in + i);
        prefetch_128(grad_out + i);
    }

    [[gnu::always_inline]] Floats result(Floats x, Floats upstream, int64_t col, const Kept& kept,
                                         int j) const {
        const Floats slope = Kind::slope(x + load(this->bias + col));
        return select(kept, j, upstream * this->scale * slope);
    }
    [[gnu::always_inline]] void vector(int64_t at, int64_t col, const Kept& kept, int j) const {
        const Floats g = result(load(this->in + at), load(grad_out + at), col, kept, j);
        store(this->out + at, g);
        if (sums != nullptr) store(sums + col, load(sums + col) + g);
    }
    void first(int64_t at, int64_t col, const Kept& kept, int j, int n) const {
        const Floats x = load_first(this->in + at, n), upstream = load_first(grad_out + at, n);
        const Floats g = result(x, upstream, col, kept, j);
        store_first(this->out + at, g, n);
        if (sums != nullptr) store_first(sums + col, load_first(sums + col, n) + g, n);
    }
};

// Padding after the padding: vectors reach up to one vector past the last element they use.
inline float* new_padded(int64_t cols) {
    return new float[static_cast<size_t>(padded_width(cols)) + Lanes<float>::count];
}

template <class T>
inline float* padded_bias(const T* bias, int64_t cols) {
    float* padded = new_padded(cols);
    const int64_t width = padded_width(cols) + Lanes<float>::count;
    for (int64_t i = 0; i < width; ++i) {
        Floats one = {};
        if (bias != nullptr && i < cols) one = load_first(bias + i, 1);
        padded[i] = bias != nullptr && i >= cols ? padded[i - cols] : one[0];
    }
    return padded;
}

template <class T, class Kind>
inline void gelu_forward_as(const GeluCall& call, const Layout& layout) {
    float* bias = padded_bias(reinterpret_cast<const T*>(call.bias), call.cols);
    const GeluForward<T, Kind> operation{{reinterpret_cast<const T*>(call.in),
                                          reinterpret_cast<T*>(call.out), bias, call.cols,
                                          static_cast<float>(call.scale)}};
    walk_parallel(layout, Rule{call.key, call.threshold}, operation, call.threads);
    delete[] bias;
}

// Sums are formed the same way whatever the number of threads: rows are split into at most 64
// blocks by the shape alone; a block adds up to 256 rows in float32, these in double; then the
// blocks are added in order.
constexpr int64_t max_blocks = 64, rows_at_a_time = 256;

template <class T, class Kind>
inline void gelu_block(const Layout& layout, const Rule& rule, GeluBackward<T, Kind> operation,
                       int64_t first_row, int64_t last_row, double* total) {
    const int64_t cols = operation.cols;
    float* sums = new_padded(cols);
    operation.sums = sums;
    for (int64_t row = first_row; row < last_row; row += rows_at_a_time) {
        for (int64_t i = 0; i < padded_width(cols); ++i) sums[i] = 0.0f;
        walk(layout, rule, operation, row * cols,
             smaller(row + rows_at_a_time, last_row) * cols);
        for (int64_t i = 0, col = 0; i < padded_width(cols); ++i) {
            total[col] += static_cast<double>(sums[i]);
            if (++col == cols) col = 0;
        }
    }
    delete[] sums;
}

template <class T, class Kind>
inline void gelu_backward_as(const GeluCall& call, const Layout& layout) {
    const int64_t cols = call.cols, rows = count_elements(layout) / cols;
    const Rule rule{call.key, call.threshold};
    float* bias = padded_bias(reinterpret_cast<const T*>(call.bias), cols);
    GeluBackward<T, Kind> operation{{reinterpret_cast<const T*>(call.in),
                                     reinterpret_cast<T*>(call.out), bias, cols,
                                     static_cast<float>(call.scale)},
                                    reinterpret_cast<const T*>(call.grad_out),
                                    nullptr};
    if (call.grad_bias == 0) {
        walk_parallel(layout, rule, operation, call.threads);
    } else {
        const int64_t blocks = smaller(rows, max_blocks);
        double* totals = new double[static_cast<size_t>(blocks * cols)]();
        run_tasks(blocks, call.threads, [&](int64_t b, int) {
            gelu_block(layout, rule, operation, rows * b / blocks, rows * (b + 1) / blocks,
                       totals + b * cols);
        });
        float* grad_bias = reinterpret_cast<float*>(call.grad_bias);
        for (int64_t col = 0; col < cols; ++col) {
            double sum = 0.0;
            for (int64_t b = 0; b < blocks; ++b) sum += totals[b * cols + col];
            grad_bias[col] = static_cast<float>(sum);
        }
        delete[] totals;
    }
    delete[] bias;
}

template <class T>
inline void gelu_as(const GeluCall& call, const Layout& layout) {
    if (call.grad_out == 0)
        return call.is_tanh ? gelu_forward_as<T, Tanh>(call, layout)
                            : gelu_forward_as<T, Exact>(call, layout);
    return call.is_tanh ? gelu_backward_as<T, Tanh>(call, layout)
                        : gelu_backward_as<T, Exact>(call, layout);
}

inline void gelu(const GeluCall& call, const Layout& layout) {
    if (call.storage == Storage::float32)
        gelu_as<float>(call, layout);
    else
        gelu_as<Bfloat16>(call, layout);
}

}  // namespace
}  // namespace redrop
