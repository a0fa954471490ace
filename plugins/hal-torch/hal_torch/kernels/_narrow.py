"""Rounding to element types narrower than 32 bits, once and to nearest even.

torch rounds float64 to float32 first when it narrows, which is one rounding too many, and what it
makes of values out of range depends on its version. Tables of the standard: "Float stored in 8
bits", "Float stored in 4 bits" and the operator Cast.
"""

from __future__ import annotations

import dataclasses

import torch

from hal.types import ElementType

__all__ = ["FLOAT8", "float_values", "narrowed", "scale_codes", "small_integers"]

Tensor = torch.Tensor
E = ElementType

_FRACTION = (1 << 23) - 1


@dataclasses.dataclass(frozen=True)
class _Format:
    mantissa: int
    least_exponent: int
    """Of the smallest normal number; below it the steps are equal."""
    most: float
    dtype: torch.dtype
    beyond: float = float("nan")
    """What stands for values out of range when they are not clamped to the largest."""


FLOAT8: dict[ElementType, _Format] = {
    E.FLOAT8E4M3FN: _Format(3, -6, 448.0, torch.float8_e4m3fn),
    E.FLOAT8E4M3FNUZ: _Format(3, -7, 240.0, torch.float8_e4m3fnuz),
    E.FLOAT8E5M2: _Format(2, -14, 57344.0, torch.float8_e5m2, float("inf")),
    E.FLOAT8E5M2FNUZ: _Format(2, -15, 57344.0, torch.float8_e5m2fnuz),
}
_FINITE: dict[ElementType, _Format] = {
    E.FLOAT4E2M1: _Format(1, 0, 6.0, torch.float32),
    E.FLOAT6E2M3: _Format(3, 0, 7.5, torch.float32),
    E.FLOAT6E3M2: _Format(2, -2, 28.0, torch.float32),
}
_HALF = (torch.float16, torch.bfloat16)


def float_values(x: Tensor) -> Tensor:
    """The values of an 8-bit float tensor in float32; any other tensor as it is."""
    return x.to(torch.float32) if x.dtype.itemsize == 1 and x.dtype.is_floating_point else x


def narrowed(x: Tensor, to: ElementType, dtype: torch.dtype, *, saturate: bool) -> Tensor:
    """Floating-point values as `to`, one of the floating-point types but float8e8m0; `dtype` holds
    it. `saturate` clamps what is beyond a float8's range to its largest value; types without
    infinity and NaN always do, and take NaN as 0."""
    if to in FLOAT8:
        return _float8(_odd(x), FLOAT8[to], saturate)
    if to in _FINITE:
        form = _FINITE[to]
        found = _rounded(_odd(x), form).clamp(-form.most, form.most)
        return torch.where(found.isnan(), torch.zeros_like(found), found)
    if dtype in _HALF:
        x = _odd(x)
    return x.to(dtype)


def _float8(x: Tensor, form: _Format, saturate: bool) -> Tensor:
    if saturate:
        return x.clamp(-form.most, form.most).to(form.dtype)
    found = _rounded(x, form)
    beyond = torch.where(found > 0, form.beyond, -form.beyond)
    return torch.where(found.abs() > form.most, beyond, found).to(form.dtype)


def _odd(x: Tensor) -> Tensor:
    """Floats in float32 such that rounding them further is as good as rounding the originals: what
    float32 does not hold exactly gets an odd last bit (Boldo and Melquiond, "Emulation of FMA and
    correctly rounded sums", 2008)."""
    if x.dtype != torch.float64:
        return x.to(torch.float32)
    near = x.to(torch.float32)
    back = near.to(torch.float64)
    bits = near.view(torch.int32)
    inexact = (back != x) & x.isfinite()
    toward_zero = bits - (inexact & (back.abs() > x.abs())).to(torch.int32)
    return torch.where(inexact, toward_zero | 1, bits).view(torch.float32)


def _rounded(x: Tensor, form: _Format) -> Tensor:
    """float32 values at the precision of a format, its exponents unbounded above."""
    exponent = ((x.view(torch.int32) >> 23) & 0xFF) - 127
    power = exponent.clamp(min=form.least_exponent, max=127) - form.mantissa
    step = ((power + 127) << 23).view(torch.float32)
    return torch.where(x.isfinite(), torch.round(x / step) * step, x)


def scale_codes(x: Tensor, *, saturate: bool, round_mode: str) -> Tensor:
    """Values as float8e8m0: powers of two from 2^-127 to 2^127. The sign is dropped, as the
    standard leaves it open."""
    bits = _odd(x).view(torch.int32) & 0x7FFFFFFF
    special = bits >= 0xFF << 23
    # The least code stands for 2^-127, half of float32's least normal number: below that one only
    # it and the next code are near.
    subnormal = bits <= _FRACTION
    exponent = bits >> 23
    if round_mode == "up":
        exponent = exponent + torch.where(subnormal, bits > 1 << 22, (bits & _FRACTION) > 0)
    elif round_mode == "nearest":
        exponent = exponent + torch.where(subnormal, bits >= 3 << 21, (bits & 1 << 22) > 0)
    if saturate:
        exponent = torch.where(special, 0xFE, exponent.clamp(max=0xFE))
        special = bits > 0xFF << 23
    else:
        special = special | (bits < 1 << 22)
    codes = torch.where(special, 0xFF, exponent)
    return codes.to(torch.uint8).view(torch.float8_e8m0fnu)


def small_integers(x: Tensor, to: ElementType) -> Tensor:
    """Integers as int4, uint4, int2 or uint2: the low bits, widened to a byte."""
    mask = (1 << to.bits) - 1
    low = x.to(torch.int8) & mask
    if to in (E.UINT4, E.UINT2):
        return low.to(torch.uint8)
    top = 1 << (to.bits - 1)
    return (low ^ top) - top
