"""torch.Tensor as the array type of the kernel backend.

==========================  ==================================================================
ONNX element type           held as
==========================  ==================================================================
float, float16, double,     the torch dtype of that name, `bool` included; `uint16`, `uint32`
bfloat16, (u)int8 to        and `uint64` are torch's own dtypes, which few of its kernels take
(u)int64, complex64/128
float8e4m3fn(uz),           torch.float8_e4m3fn(uz), torch.float8_e5m2(fnuz) and
float8e5m2(fnuz), e8m0      torch.float8_e8m0fnu
int4, int2                  torch.int8, one element a byte, the value itself
uint4, uint2                torch.uint8, one element a byte, the value itself
float4e2m1, float6e2m3,     torch.float32, the value itself: every such value is one of float32's,
float6e3m2                  -0.0 included
string                      a NumPy object array of str on the host
==========================  ==================================================================

A kernel that makes one of the widened types gives values of that type's range; `to_tensor` packs
them, and does not round.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.utils.dlpack

from hal.kernels import Arrays
from hal.tensor import Tensor
from hal.types import ElementType
from hal_torch._compat import is_alone

__all__ = ["DTYPES", "FLOAT_TABLES", "TorchArrays", "dtype_of"]

Host = np.ndarray[Any, np.dtype[Any]]
E = ElementType

DTYPES: dict[ElementType, torch.dtype] = {
    E.FLOAT: torch.float32,
    E.UINT8: torch.uint8,
    E.INT8: torch.int8,
    E.UINT16: torch.uint16,
    E.INT16: torch.int16,
    E.INT32: torch.int32,
    E.INT64: torch.int64,
    E.BOOL: torch.bool,
    E.FLOAT16: torch.float16,
    E.DOUBLE: torch.float64,
    E.UINT32: torch.uint32,
    E.UINT64: torch.uint64,
    E.COMPLEX64: torch.complex64,
    E.COMPLEX128: torch.complex128,
    E.BFLOAT16: torch.bfloat16,
    E.FLOAT8E4M3FN: torch.float8_e4m3fn,
    E.FLOAT8E4M3FNUZ: torch.float8_e4m3fnuz,
    E.FLOAT8E5M2: torch.float8_e5m2,
    E.FLOAT8E5M2FNUZ: torch.float8_e5m2fnuz,
    E.FLOAT8E8M0: torch.float8_e8m0fnu,
    E.INT4: torch.int8,
    E.UINT4: torch.uint8,
    E.INT2: torch.int8,
    E.UINT2: torch.uint8,
    E.FLOAT4E2M1: torch.float32,
    E.FLOAT6E2M3: torch.float32,
    E.FLOAT6E3M2: torch.float32,
}
"""The dtype that holds each element type; strings are no tensors."""

_SMALL = 4096
"""Bytes that are copied sooner than it is known whether they need to be."""
_WIDENED = frozenset({E.INT4, E.UINT4, E.INT2, E.UINT2, E.FLOAT4E2M1, E.FLOAT6E2M3, E.FLOAT6E3M2})
_VIEWED = frozenset(e for e in DTYPES if e.is_native and not DTYPES[e].is_complex)
"""The types whose bytes NumPy can take from a tensor as they are."""
_PLAIN = {dtype: e for e, dtype in DTYPES.items() if e not in _WIDENED}
_HELD_BY: dict[torch.dtype, frozenset[ElementType]] = {
    dtype: frozenset(e for e, own in DTYPES.items() if own == dtype) for dtype in _PLAIN
}


def dtype_of(type_: str) -> torch.dtype:
    """The dtype that holds a tensor type: "tensor(float)" or "float". Raises KeyError for strings
    and for what is no tensor type."""
    return DTYPES[E.from_onnx_name(type_.removeprefix("tensor(").removesuffix(")"))]


def _small_floats(exponent: int, mantissa: int) -> Host:
    """Every value of a float format without infinities and NaNs, by its code.

    OCP Microscaling Formats 1.0, section 5.3: sign, exponent, mantissa from the highest bit down,
    bias 2^(exponent-1)-1, subnormals.
    """
    codes = np.arange(1 << (1 + exponent + mantissa))
    sign = np.where(codes >> (exponent + mantissa), -1.0, 1.0)
    power = (codes >> mantissa) & ((1 << exponent) - 1)
    fraction = (codes & ((1 << mantissa) - 1)) / (1 << mantissa)
    scale = np.exp2(np.maximum(power, 1) - ((1 << (exponent - 1)) - 1))
    values: Host = (sign * scale * (fraction + (power > 0))).astype(np.float32)
    return values


FLOAT_TABLES: dict[ElementType, Host] = {
    E.FLOAT4E2M1: _small_floats(2, 1),
    E.FLOAT6E2M3: _small_floats(2, 3),
    E.FLOAT6E3M2: _small_floats(3, 2),
}
"""The float32 value of every code of the small float types; the sign is the highest bit."""


def _codes(values: Host, element_type: ElementType) -> Host:
    """The codes of values that are the type's own. Raises ValueError for any other value."""
    positive = FLOAT_TABLES[element_type][: len(FLOAT_TABLES[element_type]) // 2]
    magnitude = np.abs(values)
    codes = np.minimum(np.searchsorted(positive, magnitude), len(positive) - 1)
    if not np.array_equal(positive[codes], magnitude):
        raise ValueError(f"a value is none of {element_type.onnx_name}")
    found: Host = (codes + np.signbit(values) * len(positive)).astype(np.uint8)
    return found


class TorchArrays(Arrays):
    """torch.Tensor on one device; strings are NumPy arrays on the host, whatever the device."""

    is_host = False

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._on_host = device.type == "cpu"

    def supports(self, element_type: ElementType) -> bool:
        return element_type is E.STRING or element_type in DTYPES

    def from_tensor(self, tensor: Tensor) -> Any:
        element_type = tensor.element_type
        if element_type in _WIDENED or element_type is E.STRING:
            return self.from_host(tensor.bits(), element_type, codes=True)
        dtype = DTYPES[element_type]
        if not tensor.data.nbytes:
            return torch.empty(tensor.shape, dtype=dtype, device=self.device)
        octets = torch.frombuffer(tensor.data, dtype=torch.uint8)
        if octets.data_ptr() % dtype.itemsize:
            # Torch crashes on some types that are not aligned. NumPy copies: many small copies by
            # torch's threads are mostly waking and waiting.
            aligned = torch.empty(octets.shape, dtype=torch.uint8)
            np.copyto(aligned.numpy(), np.frombuffer(tensor.data, np.uint8))
            octets = aligned
        made = octets.view(dtype).view(tensor.shape)
        return made if self._on_host else made.to(self.device)

    def to_tensor(self, array: Any, element_type: ElementType) -> Tensor:
        if element_type is E.STRING:
            if not isinstance(array, np.ndarray) or array.dtype.kind not in "OUT":
                raise TypeError(f"{_described(array)}, expected strings")
            return Tensor.from_numpy(array, element_type)
        dtype = DTYPES[element_type]
        if not isinstance(array, torch.Tensor) or array.dtype != dtype:
            raise TypeError(f"{_described(array)}, expected {dtype}")
        if array.device.type == "cpu" and element_type in _VIEWED and array.is_contiguous():
            octets = array.numpy().reshape(-1).view(np.uint8)
            return Tensor(element_type, tuple(array.shape), octets.data)
        return Tensor.from_numpy(_bits(array, element_type), element_type)

    def from_host(self, array: Host, element_type: ElementType, *, codes: bool = False) -> Any:
        """See `Arrays.from_host`; with `codes` the array holds bit patterns, not values."""
        if element_type is E.STRING:
            return array
        if element_type in FLOAT_TABLES:
            table = FLOAT_TABLES[element_type]
            array = table[array] if codes else array.astype(np.float32)
        elif element_type in _WIDENED:
            if codes and element_type in (E.INT4, E.INT2):
                shift = 8 - element_type.bits
                array = (array << shift).view(np.int8) >> shift
            elif not codes:
                array = array.astype("u1" if element_type.onnx_name[0] == "u" else "i1")
        elif not element_type.is_native:
            array = np.asarray(array, order="C").view(element_type.storage)
        return self._uploaded(np.asarray(array), DTYPES[element_type])

    def _uploaded(self, array: Host, dtype: torch.dtype) -> torch.Tensor:
        array = np.asarray(array)  # arithmetic makes a scalar of a zero-dimensional array
        if any(stride < 0 for stride in array.strides) or not array.flags.aligned:
            array = array.copy()
        made = torch.from_numpy(array)
        if made.dtype != dtype:
            made = made.view(dtype)
        return made if self._on_host else made.to(self.device)

    def to_host(self, array: Any, element_type: ElementType | None) -> Host:
        if isinstance(array, np.ndarray):
            return array
        element_type = element_type or self.element_type(array) or E.FLOAT
        if element_type.is_native:
            plain: Host = array.cpu().resolve_conj().resolve_neg().numpy()
            return plain
        bits = _bits(array, element_type)
        if element_type in (E.INT4, E.INT2):
            return bits.view(np.int8).astype(element_type.dtype())
        return bits.view(element_type.dtype())

    def feeder(self, element_type: ElementType) -> Callable[[Host], Any]:
        if not self._on_host:
            return super().feeder(element_type)
        dtype, take = DTYPES[element_type], torch.from_numpy

        def feed(array: Host) -> Any:
            if array.flags.aligned:
                try:
                    made = take(array)
                except (TypeError, ValueError):  # strides below zero
                    made = None
                if made is not None and made.dtype is dtype:
                    return made
            return self.from_host(array, element_type)

        return feed

    def fetcher(self, element_type: ElementType) -> Callable[[Any], Host]:
        slow = super().fetcher(element_type)
        if not self._on_host:
            return slow

        def fetch(array: Any) -> Host:
            try:
                if array.nbytes <= _SMALL:
                    small: Host = array.numpy().copy()
                    return small
                if not array.is_contiguous():
                    ordered: Host = array.contiguous().numpy()
                    return ordered
                own = is_alone(array)
                found: Host = array.numpy()
                return found if own else found.copy()
            except (AttributeError, RuntimeError):  # a lazy conjugate, or no tensor
                return slow(array)

        return fetch

    def from_dlpack(self, source: Any) -> Any:
        """See `Arrays.from_dlpack`. A copy is made of what lies on another device, or is not
        writeable, which torch does not take over."""
        if isinstance(source, np.ndarray):
            if source.dtype.kind in "OUT":
                return source
            if not source.flags.writeable:
                source = source.copy()
            return self._uploaded(source, torch.from_numpy(source[:0].copy()).dtype)
        array = (
            source if isinstance(source, torch.Tensor) else torch.utils.dlpack.from_dlpack(source)
        )
        return array if array.device == self.device else array.to(self.device)

    def shape(self, array: Any) -> tuple[int, ...]:
        return tuple(array.shape)

    def element_type(self, array: Any) -> ElementType | None:
        if isinstance(array, torch.Tensor):
            return _PLAIN.get(array.dtype)
        return E.STRING if isinstance(array, np.ndarray) and array.dtype.kind in "OUT" else None

    def holds(self, array: Any, element_type: ElementType) -> bool:
        """Whether the array's dtype is the one that holds this type."""
        if isinstance(array, torch.Tensor):
            return element_type in _HELD_BY.get(array.dtype, ())
        return self.element_type(array) is element_type

    def take(self, array: Any, index: int, axis: int) -> Any:
        if isinstance(array, np.ndarray):
            return np.asarray(np.take(array, index, axis=axis), dtype=object)
        return array.select(axis, index)

    def slice(self, array: Any, start: int, stop: int, axis: int) -> Any:
        if isinstance(array, np.ndarray):
            return array[(slice(None),) * (axis % array.ndim) + (slice(start, stop),)]
        return array.narrow(axis, start, stop - start)

    def stack(self, arrays: Sequence[Any], axis: int) -> Any:
        if isinstance(arrays[0], np.ndarray):
            return np.stack(arrays, axis=axis)
        return torch.stack(list(arrays), dim=axis)

    def concat(self, arrays: Sequence[Any], axis: int) -> Any:
        if isinstance(arrays[0], np.ndarray):
            return np.concatenate(arrays, axis=axis)
        return torch.cat(list(arrays), dim=axis)

    def squeeze(self, array: Any, axis: int) -> Any:
        if isinstance(array, np.ndarray):
            return np.squeeze(array, axis=axis)
        return array.squeeze(axis)

    def zeros(self, shape: Sequence[int], element_type: ElementType) -> Any:
        if element_type is E.STRING:
            return np.full(tuple(shape), "", dtype=object)
        return torch.zeros(tuple(shape), dtype=DTYPES[element_type], device=self.device)

    def nbytes(self, array: Any) -> int:
        if isinstance(array, np.ndarray):
            return int(array.nbytes)
        return int(math.prod(array.shape) * array.dtype.itemsize)


def _bits(array: torch.Tensor, element_type: ElementType) -> Host:
    """The elements on the host as `Tensor.from_numpy` takes them with their element type."""
    array = array.detach().cpu().contiguous()
    if element_type in FLOAT_TABLES:
        return _codes(array.numpy(), element_type)
    if array.dtype.is_complex:
        array = array.resolve_conj()
    if array.is_neg():
        array = array.resolve_neg()
    if not element_type.is_native and element_type not in _WIDENED:
        array = array.view(torch.int16 if array.dtype.itemsize == 2 else torch.uint8)
    found: Host = array.numpy()
    return found


def _described(array: Any) -> str:
    if isinstance(array, torch.Tensor):
        return f"a tensor of {array.dtype}"
    return f"a NumPy array of {array.dtype}" if isinstance(array, np.ndarray) else repr(type(array))
