// exp and the normal distribution function on vectors of floats. Every step is a single rounded
// operation (multiply-adds are not fused), so all instruction sets give the same bits.
#pragma once

#include "simd.h"

namespace redrop {
namespace {

inline Ints bits_of_lanes(Floats v) { return reinterpret_cast<Ints>(v); }
inline Floats pick(Ints mask, Floats a, Floats b) {
    return reinterpret_cast<Floats>((mask & bits_of_lanes(a)) | (~mask & bits_of_lanes(b)));
}
inline Floats magnitude(Floats v) {
    return reinterpret_cast<Floats>(bits_of_lanes(v) & 0x7FFFFFFF);
}

// Horner's rule; coefficients from the highest power down.
template <int n>
[[gnu::always_inline]] inline Floats polynomial(Floats x, const float (&coefficients)[n]) {
    Floats sum = splat(coefficients[0]);
#pragma GCC unroll 16
    for (int i = 1; i < n; ++i) sum = sum * x + coefficients[i];
    return sum;
}

// exp(x), 2 units in the last place; 0 below -87, infinity above 88.3, NaN for NaN.
// x = n ln 2 + r with |r| <= ln(2) / 2, ln 2 in two parts of which the first has 9 bits (Cody and
// Waite). The polynomial is that of Cephes' expf: exp(r) = 1 + r + r^2 p(r).
// https://www.netlib.org/cephes/
[[gnu::always_inline]] inline Floats exponential(Floats x) {
    constexpr float p[] = {1.9875691500e-4f, 1.3981999507e-3f, 8.3334519073e-3f,
                           4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f};
    // Adding 1.5 * 2^23 rounds to an integer, which then stands in the lowest bits.
    constexpr float rounding = 12582912.0f;
    const Floats shifted = x * 1.44269504f + rounding;
    const Floats n = shifted - rounding;
    const Floats r = (x - n * 0.693359375f) - n * -2.12194440e-4f;
    const Floats e = polynomial(r, p) * (r * r) + r + 1.0f;
    const Ints exponent = bits_of_lanes(shifted) << 23;
    const Floats scaled = reinterpret_cast<Floats>(bits_of_lanes(e) + exponent);
    const Floats capped = pick(x > 88.3f, splat(__builtin_inff()), scaled);
    return pick(x < -87.0f, Floats{}, pick(x == x, capped, x));
}

struct Normal {
    Floats below, density;  // P(Z < z), and the density at z
};

// With t = |z|: P(Z < -t) = exp(-t^2 / 2) w q(w), w = 1 / (1 + 0.35 t). q was fitted (reweighted
// least squares towards the minimax) to scipy's erfcx for 0 <= t <= 14, beyond which the product
// is 0: relative error 3.2e-8 before rounding. So the lower tail keeps its relative accuracy,
// which 1 + erf(z / sqrt(2)) loses.
[[gnu::always_inline]] inline Normal normal(Floats z) {
    constexpr float q[] = {-0.0291461088f, 0.143972576f, -0.255716085f, 0.159176245f,
                           -0.0231112726f, 0.105508611f, 0.119832717f, 0.139861897f,
                           0.139621407f};
    const Floats t = magnitude(z);
    const Floats w = 1.0f / (t * 0.35f + 1.0f);
    const Floats e = exponential(t * -0.5f * t);
    const Floats tail = e * (polynomial(w, q) * w);
    return Normal{pick(z < 0.0f, tail, 1.0f - tail), e * 0.398942280f};  // 1 / sqrt(2 pi)
}

}  // namespace
}  // namespace redrop
