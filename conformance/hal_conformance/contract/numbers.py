"""Values in higher precision and back: to float64 and exact integers, and rounded once."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from hal import ElementType, MapValue, OptionalValue, SequenceValue, Tensor, Value

__all__ = [
    "Array",
    "bounds",
    "epsilon",
    "is_complex",
    "is_float",
    "is_integer",
    "is_signed",
    "largest",
    "narrow",
    "smallest_normal",
    "smallest_subnormal",
    "value_of",
    "widen",
    "widened_type",
]

Array = np.ndarray[Any, Any]

_COMPLEX = frozenset({ElementType.COMPLEX64, ElementType.COMPLEX128})
_SIGNED = {2: ElementType.INT2, 4: ElementType.INT4, 8: ElementType.INT8, 16: ElementType.INT16}
_SIGNED |= {32: ElementType.INT32, 64: ElementType.INT64}
_UNSIGNED = {2: ElementType.UINT2, 4: ElementType.UINT4, 8: ElementType.UINT8}
_UNSIGNED |= {16: ElementType.UINT16, 32: ElementType.UINT32, 64: ElementType.UINT64}
_INTEGERS = frozenset([*_SIGNED.values(), *_UNSIGNED.values()])


def is_complex(element: ElementType) -> bool:
    """Whether the type is a complex number."""
    return element in _COMPLEX


def is_integer(element: ElementType) -> bool:
    """Whether the type is an integer; bool is not."""
    return element in _INTEGERS


def is_signed(element: ElementType) -> bool:
    """Whether the type holds negative numbers."""
    if is_integer(element):
        return element in _SIGNED.values()
    return is_complex(element) or (is_float(element) and element is not ElementType.FLOAT8E8M0)


def is_float(element: ElementType) -> bool:
    """Whether the type is a real floating-point number of any width."""
    return not (
        is_integer(element)
        or is_complex(element)
        or element in (ElementType.BOOL, ElementType.STRING)
    )


def bounds(element: ElementType) -> tuple[int, int]:
    """The smallest and the largest value of an integer type."""
    bits = element.bits
    return (-(1 << bits - 1), (1 << bits - 1) - 1) if is_signed(element) else (0, (1 << bits) - 1)


def epsilon(element: ElementType) -> float:
    """The distance from 1 to the next number of a real or complex type: one ULP at 1."""
    return _info(element)[0]


def largest(element: ElementType) -> float:
    """The largest finite number of a real type."""
    return _info(element)[1]


def smallest_normal(element: ElementType) -> float:
    """The smallest positive normal number of a real or complex type."""
    return _info(element)[2]


def smallest_subnormal(element: ElementType) -> float:
    """The smallest positive number of a real or complex type."""
    return _info(element)[3]


@functools.cache
def _info(element: ElementType) -> tuple[float, float, float, float]:
    if is_complex(element):
        parts = {ElementType.COMPLEX64: ElementType.FLOAT, ElementType.COMPLEX128: None}
        element = parts[element] or ElementType.DOUBLE
    dtype = element.dtype()
    info: Any = np.finfo(dtype) if element.is_native else _ml_info(dtype)
    return (
        float(info.eps),
        float(info.max),
        float(info.smallest_normal),
        float(info.smallest_subnormal),
    )


def _ml_info(dtype: np.dtype[Any]) -> Any:
    import ml_dtypes

    return ml_dtypes.finfo(dtype)


def widened_type(element: ElementType) -> ElementType:
    """The type in which ONNX's reference computes: double for real numbers, complex128 for complex
    ones, itself for everything else."""
    if is_complex(element):
        return ElementType.COMPLEX128
    return ElementType.DOUBLE if is_float(element) else element


def widen(tensor: Tensor) -> Array:
    """The elements as float64, complex128, int64 (uint64 for uint64), bool or str objects."""
    element = tensor.element_type
    if element in (ElementType.STRING, ElementType.BOOL):
        return np.asarray(tensor.bits().copy())
    array = tensor.numpy()
    if is_complex(element):
        return array.astype(np.complex128)
    if is_float(element):
        with np.errstate(invalid="ignore"):  # a signalling NaN becomes a quiet one
            return array.astype(np.float64)
    return array.astype(np.uint64 if element is ElementType.UINT64 else np.int64)


def narrow(values: Any, element: ElementType) -> Tensor:
    """A tensor of these values, each rounded once, to nearest with ties to even.

    Raises ValueError for an integer that the type does not hold: whoever computes it knows what the
    standard says of overflow.
    """
    if element is ElementType.STRING:
        return Tensor.from_numpy(np.asarray(values, dtype=object), element)
    array = np.asarray(values)
    if element is ElementType.BOOL:
        return Tensor.from_numpy(array.astype(np.bool_))
    if is_integer(element):
        return _integers(array, element)
    with np.errstate(all="ignore"):
        if element.is_native:
            return Tensor.from_numpy(np.asarray(array.astype(element.storage)))
        odd = _round_to_odd(array.astype(np.float64))
        return Tensor.from_numpy(np.asarray(odd.astype(element.dtype())), element)


def _integers(array: Array, element: ElementType) -> Tensor:
    low, high = bounds(element)
    if array.size and (int(array.min()) < low or int(array.max()) > high):
        raise ValueError(f"{element.onnx_name} holds {low} to {high}, not {array.min()}...")
    if array.dtype.kind == "f" and not np.array_equal(array, np.floor(array)):
        raise ValueError(f"{element.onnx_name} holds no fractions")
    if element.is_native:
        return Tensor.from_numpy(np.asarray(array.astype(element.storage)))
    octets = array.astype(np.int64).astype(np.uint8) & ((1 << element.bits) - 1)
    return Tensor.from_numpy(np.asarray(octets.astype(np.uint8)), element)


def _round_to_odd(x: Array) -> Array:
    """float32 from which a narrower type is reached with one rounding: inexact results are cut off
    and made odd, so that no tie arises that was none (S. Boldo, G. Melquiond, IEEE TC 57, 2008)."""
    y = x.astype(np.float32)
    wide = y.astype(np.float64)
    inexact = (wide != x) & ~np.isnan(x)
    y = np.where(np.abs(wide) > np.abs(x), np.nextafter(y, np.float32(0)), y).astype(np.float32)
    bits = np.atleast_1d(y).view(np.uint32)
    bits[np.atleast_1d(inexact)] |= 1
    return np.asarray(bits.view(np.float32).reshape(x.shape))


def value_of(raw: Any, type_: str) -> Value:
    """The HAL value of a type string from what Python holds: an array (or a Tensor) for a tensor, a
    list for a sequence, None or a value for an optional, a dict for a map."""
    if isinstance(raw, (Tensor, SequenceValue, OptionalValue, MapValue)):
        return raw
    kind, _, rest = type_.partition("(")
    inner = rest[:-1]
    if kind == "seq":
        return SequenceValue(type_, tuple(value_of(item, inner) for item in raw))
    if kind == "optional":
        return OptionalValue(type_, None if raw is None else value_of(raw, inner))
    if kind == "map":
        key, _, item = inner.partition(",")
        keys = narrow(list(raw), ElementType.from_onnx_name(key))
        values = narrow(list(raw.values()), ElementType.from_onnx_name(item.strip()[7:-1]))
        return MapValue(type_, keys, values)
    element = ElementType.from_onnx_name(inner)
    if isinstance(raw, np.ndarray) and raw.dtype == element.dtype() and not element.is_native:
        return Tensor.from_numpy(raw, element)
    return narrow(raw, element)
