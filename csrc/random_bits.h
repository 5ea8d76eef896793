// The 32 random bits of each element (SPEC "Decision"): u = half(0) << 16 | half(1), as int64.
//
// Two Philox calls for 8 columns, written as the definition reads: what is made of the bits, such
// as the normal distribution's inverse, costs far more than they do.
#pragma once

#include "kernels.h"
#include "walk.h"

namespace redrop {
namespace {

struct Bits8 {
    int64_t u[8];
};

inline Bits8 random_bits8(uint64_t key, uint32_t plane, uint32_t row, uint32_t group) {
    const Words high = philox4x32_10(key, Words{{group, row, plane, 0}});
    const Words low = philox4x32_10(key, Words{{group, row, plane, 1}});
    Bits8 bits;
    for (int i = 0; i < 8; ++i)
        bits.u[i] = static_cast<int64_t>(half_word(high, i)) << 16 | half_word(low, i);
    return bits;
}

// n consecutive columns from `col` on.
inline void random_bits_row(uint64_t key, uint32_t plane, uint32_t row, uint64_t col, int64_t n,
                            int64_t* out) {
    while (n > 0) {
        const Bits8 bits = random_bits8(key, plane, row, static_cast<uint32_t>(col >> 3));
        const int first = static_cast<int>(col & 7);
        const int here = static_cast<int>(smaller(8 - first, n));
        for (int i = 0; i < here; ++i) out[i] = bits.u[first + i];
        out += here;
        col += static_cast<uint64_t>(here);
        n -= here;
    }
}

inline void random_bits(const RandomBitsCall& call, const Layout& layout) {
    int64_t* out = reinterpret_cast<int64_t*>(call.out);
    const Dim& last = layout.dims[layout.ndim - 1];
    split(count_elements(layout), out, sizeof(*out), call.threads,
          [&](int64_t begin, int64_t end) {
              Cursor c(layout, begin);
              while (begin < end) {
                  const int64_t n = smaller(last.size - c.at, end - begin);
                  const uint32_t plane = static_cast<uint32_t>(c.plane);
                  const uint32_t row = static_cast<uint32_t>(c.row);
                  if (last.col_step == 0) {
                      const Bits8 bits =
                          random_bits8(call.key, plane, row, static_cast<uint32_t>(c.col >> 3));
                      for (int64_t i = 0; i < n; ++i) out[begin + i] = bits.u[c.col & 7];
                  } else {
                      const uint64_t col = c.col + static_cast<uint64_t>(c.at);
                      random_bits_row(call.key, plane, row, col, n, out + begin);
                  }
                  begin += n;
                  c.next_run();
              }
          });
}

}  // namespace
}  // namespace redrop
