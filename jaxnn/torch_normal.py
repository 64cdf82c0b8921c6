"""PyTorch's normal numbers in NumPy: the Box-Muller transform of its CPU kernel for x86, bit for bit.

torch (normal_fill_AVX2 in ATen/native/cpu/DistributionTemplates.h) takes logarithm, sine and cosine from polynomials
of the Cephes library in float32, whose products and sums its compiler joins into fused multiply-adds. Where torch runs
other kernels, as on ARM, its own numbers differ from these in the last digits.
"""

import numpy as np
from jaxtyping import Float32

_Floats = Float32[np.ndarray, "..."]
_f = np.float32

_LOG = (7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1,
        2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1)  # fmt: skip
_SIN = (-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1)
_COS = (2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2)
_QUARTER_PI = (0.78515625, 2.4187564849853515625e-4, 3.77489497744594108e-8)  # in three parts, the largest exact
_LN2_HIGH, _LN2_LOW = 0.693359375, -2.12194440e-4


def box_muller(uniform: Float32[np.ndarray, " n"], std: float) -> Float32[np.ndarray, " n"]:
    """Normal numbers of mean 0 from uniform ones in [0, 1), whose number is a multiple of 16.

    Of each 16, the first 8 give the radii and the last 8 the angles.
    """
    pairs = uniform.reshape(-1, 2, 8)
    radius = np.sqrt(_f(-2) * _log(_f(1) - pairs[:, 0]))
    sine, cosine = _sine_cosine(_f(2 * np.pi) * pairs[:, 1])
    return (np.stack([radius * cosine, radius * sine], axis=1) * _f(std)).reshape(-1)


def _fma(a: _Floats, b: _Floats | np.float32, c: _Floats | np.float32) -> _Floats:
    """a * b + c with one rounding: the product of two float32 numbers is exact in float64."""
    return (a.astype(np.float64) * np.float64(b) + np.float64(c)).astype(np.float32)


def _polynomial(x: _Floats, coefficients: tuple[float, ...]) -> _Floats:
    value = np.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        value = _fma(value, x, _f(coefficient))
    return value


def _log(x: _Floats) -> _Floats:
    """The natural logarithm of positive numbers: of the fraction, within sqrt(1/2) and sqrt(2), plus the exponent's."""
    fraction, exponent = np.frexp(x)
    small = fraction < _f(np.sqrt(0.5))
    power = exponent.astype(np.float32) - small.astype(np.float32)
    rest = (fraction - _f(1)) + np.where(small, fraction, _f(0))
    square = rest * rest
    value = _polynomial(rest, _LOG) * rest
    value = _fma(value, square, power * _f(_LN2_LOW))
    value = _fma(square, _f(-0.5), value)
    return _fma(power, _f(_LN2_HIGH), rest + value)


def _sine_cosine(x: _Floats) -> tuple[_Floats, _Floats]:
    """Of angles in [0, 2 pi], from both polynomials on the nearest even multiple of pi / 4."""
    octant = (x * _f(4 / np.pi)).astype(np.int32)
    octant = (octant + 1) & ~1
    rest = x
    for part in _QUARTER_PI:
        rest = _fma(octant.astype(np.float32), _f(-part), rest)
    square = rest * rest
    near_zero = _fma(_polynomial(square, _SIN) * square, rest, rest)
    near_one = _fma(_polynomial(square, _COS) * square, square, square * _f(-0.5)) + _f(1)
    swapped = (octant & 2) != 0
    sine = np.where(swapped, near_one, near_zero)
    cosine = np.where(swapped, near_zero, near_one)
    return np.where((octant & 4) != 0, -sine, sine), np.where(((octant - 2) & 4) == 0, -cosine, cosine)
