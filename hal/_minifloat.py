"""The values behind the bit patterns of floating-point types that NumPy lacks."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from hal.types import ElementType

__all__ = ["widen_bits"]

# Exponent bits, mantissa bits, bias, and what the largest patterns mean: "ieee" has infinities and
# NaN as usual, "fn" only NaN where all bits are set, "fnuz" only NaN in place of -0, "finite" none.
# Source: ONNX's pages on float8, float4 and float6, after the OCP formats (OFP8, MX) and
# "8-bit Numerical Formats for Deep Neural Networks" (the fnuz ones).
_FORMATS = {
    ElementType.FLOAT8E4M3FN: (4, 3, 7, "fn"),
    ElementType.FLOAT8E4M3FNUZ: (4, 3, 8, "fnuz"),
    ElementType.FLOAT8E5M2: (5, 2, 15, "ieee"),
    ElementType.FLOAT8E5M2FNUZ: (5, 2, 16, "fnuz"),
    ElementType.FLOAT6E2M3: (2, 3, 1, "finite"),
    ElementType.FLOAT6E3M2: (3, 2, 3, "finite"),
    ElementType.FLOAT4E2M1: (2, 1, 1, "finite"),
}


def widen_bits(bits: np.ndarray[Any, Any], element_type: ElementType) -> np.ndarray[Any, Any]:
    """The float32 values of bit patterns (`Tensor.bits()`), exactly. Raises KeyError for a type
    that is not one of the floating-point types that NumPy lacks."""
    if element_type is ElementType.BFLOAT16:
        return (bits.astype(np.uint32) << 16).view(np.float32)
    values: np.ndarray[Any, Any] = _table(element_type)[bits]
    return values


@functools.cache
def _table(element_type: ElementType) -> np.ndarray[Any, Any]:
    if element_type is ElementType.FLOAT8E8M0:
        scales = np.ldexp(1.0, np.arange(256) - 127)
        scales[255] = np.nan
        return scales.astype(np.float32)
    exponent_bits, mantissa_bits, bias, special = _FORMATS[element_type]
    pattern = np.arange(1 << (1 + exponent_bits + mantissa_bits))
    mantissa = pattern & ((1 << mantissa_bits) - 1)
    exponent = (pattern >> mantissa_bits) & ((1 << exponent_bits) - 1)
    sign = np.where(pattern >> (exponent_bits + mantissa_bits), -1.0, 1.0)
    # A subnormal has exponent 1 and no leading one.
    significand = np.where(exponent > 0, mantissa + (1 << mantissa_bits), mantissa)
    values = sign * np.ldexp(
        significand.astype(float), np.maximum(exponent, 1) - bias - mantissa_bits
    )
    top = exponent == (1 << exponent_bits) - 1
    if special == "ieee":
        values[top & (mantissa == 0)] *= np.inf
        values[top & (mantissa != 0)] = np.nan
    elif special == "fn":
        values[top & (mantissa == (1 << mantissa_bits) - 1)] = np.nan
    elif special == "fnuz":
        values[len(values) // 2] = np.nan
    table: np.ndarray[Any, Any] = values.astype(np.float32)
    return table
