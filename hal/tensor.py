"""HAL's own values: tensors of packed raw bytes, and the sequences, optionals and maps of them."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable
from typing import Any, Union

import numpy as np

from hal.types import ElementType

__all__ = ["MapValue", "OptionalValue", "SequenceValue", "Tensor", "Value"]


@dataclasses.dataclass(frozen=True, eq=False)
class Tensor:
    """An ONNX tensor: element type, shape, and its elements as packed little-endian bytes, C order.

    Elements below eight bits are packed from the lowest bit up, as in `TensorProto.raw_data`.
    Strings are stored as count + 1 int64 offsets followed by their UTF-8 bytes. `data` may view
    memory that others own; it is never written through this object.
    """

    element_type: ElementType
    shape: tuple[int, ...]
    data: memoryview

    def __post_init__(self) -> None:
        if any(d < 0 for d in self.shape):
            raise ValueError(f"a tensor's shape has no negative dimension: {self.shape}")
        if self.element_type is ElementType.STRING:
            smallest = 8 * (self.size + 1)
            if self.data.nbytes < smallest:
                raise ValueError(f"{self.size} strings need {smallest} bytes of offsets or more")
        elif self.data.nbytes != self.element_type.nbytes(self.size):
            raise ValueError(
                f"{self.type} of shape {self.shape} has {self.element_type.nbytes(self.size)} "
                f"bytes, got {self.data.nbytes}"
            )

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def type(self) -> str:
        """The ONNX type string, e.g. "tensor(float)"."""
        return f"tensor({self.element_type.onnx_name})"

    @property
    def nbytes(self) -> int:
        """Bytes of packed data."""
        return self.data.nbytes

    @classmethod
    def from_numpy(cls, array: Any, element_type: ElementType | None = None) -> Tensor:
        """A tensor of a NumPy array's values, without a copy where its layout allows.

        `element_type` says how to read a bit pattern: a uint16 array as BFLOAT16, a uint8 array
        with one element a byte as INT4. Raises TypeError for a dtype that ONNX does not have.
        """
        array = np.asarray(array)
        if element_type is None:
            element_type = ElementType.from_dtype(array.dtype)
        shape = tuple(int(d) for d in array.shape)
        if element_type is ElementType.STRING:
            return cls(element_type, shape, _encode_strings(array.ravel().tolist()))
        if array.dtype.byteorder == ">":
            array = array.astype(array.dtype.newbyteorder("<"))
        flat = np.ascontiguousarray(array).reshape(-1)
        if flat.dtype.itemsize != element_type.storage.itemsize:
            raise TypeError(f"a {flat.dtype.name} array does not hold {element_type.name} elements")
        octets = flat.view(np.uint8)
        if element_type.bits in (2, 4, 6):
            octets = _pack(octets, element_type.bits)
        return cls(element_type, shape, octets.data)

    def bits(self) -> np.ndarray[Any, np.dtype[Any]]:
        """The elements, one per array item, as plain NumPy dtypes: values where NumPy has the type,
        bit patterns (uint16 or uint8) where it has not. Read-only; a view where possible."""
        if self.element_type is ElementType.STRING:
            strings = np.empty(self.size, dtype=object)
            strings[:] = _decode_strings(self.data, self.size)
            return strings.reshape(self.shape)
        octets = np.frombuffer(self.data, dtype=np.uint8)
        if self.element_type.bits in (2, 4, 6):
            octets = _unpack(octets, self.element_type.bits, self.size)
        array = octets.view(self.element_type.storage).reshape(self.shape)
        array.flags.writeable = False
        return array

    def numpy(self) -> np.ndarray[Any, np.dtype[Any]]:
        """The elements as a read-only NumPy array of their own dtype, a view where possible.

        Types that NumPy lacks need ml_dtypes; raises ImportError where it is not installed.
        """
        array = self.bits()
        if self.element_type.is_native:
            return array
        view = array.view(self.element_type.dtype())
        view.flags.writeable = False
        return view

    def __dlpack__(self, **options: Any) -> Any:
        """A DLPack capsule over the data (CPU); raises BufferError for types DLPack lacks."""
        if not self.element_type.is_native or self.element_type is ElementType.STRING:
            raise BufferError(f"NumPy's DLPack has no {self.type}")
        array = self.bits()
        if not array.flags.writeable:
            array = array.copy()  # NumPy exports only writeable arrays before DLPack 1.0
        return array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)

    @classmethod
    def from_dlpack(cls, source: Any) -> Tensor:
        """A tensor of anything that exports CPU memory by DLPack, without a copy."""
        return cls.from_numpy(np.from_dlpack(source))

    def __repr__(self) -> str:
        return f"Tensor({self.type}, shape={list(self.shape)})"


@dataclasses.dataclass(frozen=True, eq=False)
class SequenceValue:
    """An ONNX sequence. `type` is its full type string, e.g. "seq(tensor(float))"."""

    type: str
    items: tuple[Value, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class OptionalValue:
    """An ONNX optional: `value` is None when it holds nothing."""

    type: str
    value: Value | None


@dataclasses.dataclass(frozen=True, eq=False)
class MapValue:
    """An ONNX map: a tensor of keys (int64 or string, rank 1) and one of values, in one order."""

    type: str
    keys: Tensor
    values: Tensor


Value = Union[Tensor, SequenceValue, OptionalValue, MapValue]


def _encode_strings(strings: Iterable[Any]) -> memoryview:
    encoded = [
        s if isinstance(s, bytes) else str(s).encode("utf-8", "surrogateescape") for s in strings
    ]
    offsets = np.zeros(len(encoded) + 1, dtype="<i8")
    np.cumsum([len(s) for s in encoded], out=offsets[1:])
    return memoryview(offsets.tobytes() + b"".join(encoded))


def _decode_strings(data: memoryview, count: int) -> list[str]:
    offsets = np.frombuffer(data[: 8 * (count + 1)], dtype="<i8")
    text = bytes(data[8 * (count + 1) :])
    if offsets[0] != 0 or offsets[-1] != len(text) or (np.diff(offsets) < 0).any():
        raise ValueError("a string tensor's offsets do not match its bytes")
    return [
        text[a:b].decode("utf-8", "surrogateescape")
        for a, b in itertools.pairwise(offsets.tolist())
    ]


def _pack(octets: np.ndarray[Any, Any], width: int) -> np.ndarray[Any, Any]:
    bits = np.unpackbits(octets[:, None], axis=1, count=width, bitorder="little")
    return np.packbits(bits.reshape(-1), bitorder="little")


def _unpack(octets: np.ndarray[Any, Any], width: int, count: int) -> np.ndarray[Any, Any]:
    bits = np.unpackbits(octets, count=count * width, bitorder="little").reshape(count, width)
    return np.packbits(bits, axis=1, bitorder="little").reshape(count)
