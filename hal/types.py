"""ONNX element types: their names, their numbers, and the NumPy dtypes that hold them.

Numbers and names are those of `TensorProto.DataType`; the type strings ("tensor(float)") are those
of ONNX operator schemas.
"""

from __future__ import annotations

import enum
import functools
import importlib
from typing import Any

import numpy as np

__all__ = ["ElementType"]


class ElementType(enum.IntEnum):
    """An ONNX tensor element type; its value is the number in `TensorProto.DataType`."""

    FLOAT = 1
    UINT8 = 2
    INT8 = 3
    UINT16 = 4
    INT16 = 5
    INT32 = 6
    INT64 = 7
    STRING = 8
    BOOL = 9
    FLOAT16 = 10
    DOUBLE = 11
    UINT32 = 12
    UINT64 = 13
    COMPLEX64 = 14
    COMPLEX128 = 15
    BFLOAT16 = 16
    FLOAT8E4M3FN = 17
    FLOAT8E4M3FNUZ = 18
    FLOAT8E5M2 = 19
    FLOAT8E5M2FNUZ = 20
    UINT4 = 21
    INT4 = 22
    FLOAT4E2M1 = 23
    FLOAT8E8M0 = 24
    UINT2 = 25
    INT2 = 26
    FLOAT6E2M3 = 27
    FLOAT6E3M2 = 28

    @property
    def onnx_name(self) -> str:
        """The name inside ONNX's type strings, e.g. "float" in "tensor(float)"."""
        return self.name.lower()

    @property
    def bits(self) -> int:
        """Bits of one element in packed storage; 0 for strings, which have no fixed size."""
        return _BITS[self]

    @property
    def storage(self) -> np.dtype[Any]:
        """The plain NumPy dtype of an unpacked element: its bits where NumPy lacks the type."""
        return _STORAGE[self]

    @property
    def is_native(self) -> bool:
        """Whether NumPy itself has this type, so that `storage` holds values, not bit patterns."""
        return self not in _EXTENDED

    def nbytes(self, count: int) -> int:
        """Bytes of `count` packed elements (not for strings)."""
        return (count * self.bits + 7) // 8

    def dtype(self) -> np.dtype[Any]:
        """The NumPy dtype of this type's values.

        Types that NumPy lacks come from ml_dtypes; raises ImportError where it is not installed.
        """
        if self.is_native:
            return self.storage
        dtype: np.dtype[Any] = np.dtype(
            getattr(importlib.import_module("ml_dtypes"), _EXTENDED[self])
        )
        return dtype

    @classmethod
    def from_dtype(cls, dtype: np.dtype[Any] | type) -> ElementType:
        """The element type of a NumPy or ml_dtypes dtype; raises TypeError if ONNX has none."""
        dtype = np.dtype(dtype)
        if dtype.kind in "OUT":
            return cls.STRING
        try:
            return _BY_DTYPE_NAME[dtype.name]
        except KeyError:
            raise TypeError(f"ONNX has no element type for NumPy dtype {dtype.name!r}") from None

    @classmethod
    def from_onnx_name(cls, name: str) -> ElementType:
        """The element type of a name such as "float" or "int4"; raises KeyError if unknown."""
        return cls[name.upper()]


_EXTENDED = {
    ElementType.BFLOAT16: "bfloat16",
    ElementType.FLOAT8E4M3FN: "float8_e4m3fn",
    ElementType.FLOAT8E4M3FNUZ: "float8_e4m3fnuz",
    ElementType.FLOAT8E5M2: "float8_e5m2",
    ElementType.FLOAT8E5M2FNUZ: "float8_e5m2fnuz",
    ElementType.FLOAT8E8M0: "float8_e8m0fnu",
    ElementType.FLOAT6E2M3: "float6_e2m3fn",
    ElementType.FLOAT6E3M2: "float6_e3m2fn",
    ElementType.FLOAT4E2M1: "float4_e2m1fn",
    ElementType.UINT4: "uint4",
    ElementType.INT4: "int4",
    ElementType.UINT2: "uint2",
    ElementType.INT2: "int2",
}

_NATIVE = {
    ElementType.FLOAT: "float32",
    ElementType.UINT8: "uint8",
    ElementType.INT8: "int8",
    ElementType.UINT16: "uint16",
    ElementType.INT16: "int16",
    ElementType.INT32: "int32",
    ElementType.INT64: "int64",
    ElementType.STRING: "object",
    ElementType.BOOL: "bool",
    ElementType.FLOAT16: "float16",
    ElementType.DOUBLE: "float64",
    ElementType.UINT32: "uint32",
    ElementType.UINT64: "uint64",
    ElementType.COMPLEX64: "complex64",
    ElementType.COMPLEX128: "complex128",
}

_SUB_BYTE = {
    ElementType.FLOAT6E2M3: 6,
    ElementType.FLOAT6E3M2: 6,
    ElementType.FLOAT4E2M1: 4,
    ElementType.UINT4: 4,
    ElementType.INT4: 4,
    ElementType.UINT2: 2,
    ElementType.INT2: 2,
}


@functools.cache
def _storage(element_type: ElementType) -> np.dtype[Any]:
    if element_type in _NATIVE:
        return np.dtype(_NATIVE[element_type])
    return np.dtype("uint16" if element_type is ElementType.BFLOAT16 else "uint8")


_STORAGE = {e: _storage(e) for e in ElementType}
_BITS = {
    e: 0 if e is ElementType.STRING else _SUB_BYTE.get(e, _STORAGE[e].itemsize * 8)
    for e in ElementType
}
_BY_DTYPE_NAME = {name: e for table in (_NATIVE, _EXTENDED) for e, name in table.items()}
