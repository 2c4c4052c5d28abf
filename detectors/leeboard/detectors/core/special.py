"""Special functions of the kernels, in plain arithmetic where libm would differ between processors."""

import math

import numpy as np

from .jit import kernel

#: SplitMix64 (Steele, Lea, Flood 2014): one odd increment per draw, then two multiplications
_INCREMENTS = np.array([((k + 1) * 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF for k in range(3)], np.uint64)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_SHIFT_30, _SHIFT_27, _SHIFT_31, _SHIFT_11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)


@kernel
def uniform(event: np.uint64, salt: np.uint64, k: int) -> float:
    """Uniform number k (0, 1 or 2) on (0, 1) of one event for one signal; the three are independent.

    `event`: 64 bits of a cryptographic hash of the event's id; `salt`: 64 bits for the signal. One blake2b an event and
    SplitMix64 for each signal: a blake2b for each of 30 signals would cost 50 microseconds an event.
    """
    z = (event ^ salt) + _INCREMENTS[k]
    z = (z ^ (z >> _SHIFT_30)) * _FIRST
    z = (z ^ (z >> _SHIFT_27)) * _SECOND
    z = z ^ (z >> _SHIFT_31)
    return (np.float64(z >> _SHIFT_11) + 0.5) * 2.0**-53


@kernel
def exp_bounded(x: float) -> float:
    """e**x for |x| <= 12 by plain multiplications, relative error < 1e-9.

    libm's `exp` differs between processor types and cannot be vectorised without a vendor library; this one gives the
    same bits everywhere. It is the series of e**(x/16) in Horner form, squared four times.
    """
    t = x * 0.0625
    p = 1.0 + t / 11.0
    p = 1.0 + t * p * (1.0 / 10.0)
    p = 1.0 + t * p * (1.0 / 9.0)
    p = 1.0 + t * p * 0.125
    p = 1.0 + t * p * (1.0 / 7.0)
    p = 1.0 + t * p * (1.0 / 6.0)
    p = 1.0 + t * p * 0.2
    p = 1.0 + t * p * 0.25
    p = 1.0 + t * p * (1.0 / 3.0)
    p = 1.0 + t * p * 0.5
    p = 1.0 + t * p
    p = p * p
    p = p * p
    p = p * p
    return p * p


@kernel
def normal_quantile(p: float) -> float:
    """Inverse of the standard normal distribution function (Acklam's approximation, relative error < 1.2e-9)."""
    p = min(max(p, 1e-12), 1.0 - 1e-12)
    if 0.02425 <= p <= 1.0 - 0.02425:
        q = p - 0.5
        r = q * q
        top = -3.969683028665376e01 * r + 2.209460984245205e02
        top = (top * r - 2.759285104469687e02) * r + 1.383577518672690e02
        top = (top * r - 3.066479806614716e01) * r + 2.506628277459239e00
        bottom = -5.447609879822406e01 * r + 1.615858368580409e02
        bottom = (bottom * r - 1.556989798598866e02) * r + 6.680131188771972e01
        bottom = (bottom * r - 1.328068155288572e01) * r + 1.0
        return top * q / bottom
    q = math.sqrt(-2.0 * math.log(min(p, 1.0 - p)))
    top = (-7.784894002430293e-03 * q - 3.223964580411365e-01) * q - 2.400758277161838e00
    top = ((top * q - 2.549732539343734e00) * q + 4.374664141464968e00) * q + 2.938163982698783e00
    bottom = (7.784695709041462e-03 * q + 3.224671290700398e-01) * q + 2.445134137142996e00
    bottom = (bottom * q + 3.754408661907416e00) * q + 1.0
    return top / bottom if p < 0.5 else -top / bottom


@kernel
def log_normal_tail(z: float) -> float:
    """Natural log of P(N(0,1) > z) for z >= 0."""
    if z < 20.0:
        return math.log(0.5 * math.erfc(z * math.sqrt(0.5)))
    return -0.5 * z * z - math.log(z) - 0.9189385332046727 + math.log(1.0 - 1.0 / (z * z))
