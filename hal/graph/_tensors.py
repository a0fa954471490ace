"""TensorProto and SparseTensorProto to hal.Tensor, without a copy of raw or external data."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hal.errors import ModelError
from hal.graph import _wire as wire
from hal.graph._external import ExternalData
from hal.graph.ir import SparseTensor
from hal.tensor import Tensor
from hal.types import ElementType

__all__ = ["read_sparse_tensor", "read_tensor"]

_LARGEST = 1 << 62
"""A bound on a tensor's elements: far above any file, and products of it stay exact."""
_FLOAT, _INT32, _STRING, _INT64, _DOUBLE, _UINT64 = 4, 5, 6, 7, 10, 11
_FIELD = {
    ElementType.FLOAT: _FLOAT,
    ElementType.COMPLEX64: _FLOAT,
    ElementType.DOUBLE: _DOUBLE,
    ElementType.COMPLEX128: _DOUBLE,
    ElementType.INT64: _INT64,
    ElementType.UINT32: _UINT64,
    ElementType.UINT64: _UINT64,
    ElementType.STRING: _STRING,
}


def read_tensor(view: memoryview, external: ExternalData) -> tuple[str, Tensor]:
    """The name and the value of a TensorProto."""
    name, number = "", 0
    dims: list[int] = []
    raw: memoryview | None = None
    typed: dict[int, list[wire.Field]] = {}
    outside: dict[str, str] = {}
    is_external = False
    for field, kind, value in wire.fields(view):
        if field == 1:
            dims += _integers(kind, value)
        elif field == 2:
            number = wire.integer(value)
        elif field == 8:
            name = wire.text(value)
        elif field == 9:
            raw = wire.message(value)
        elif field in (_FLOAT, _INT32, _STRING, _INT64, _DOUBLE, _UINT64):
            typed.setdefault(field, []).append(value)
        elif field == 13:
            key, text = _entry(wire.message(value))
            outside[key] = text
        elif field == 14:
            is_external = wire.integer(value) == 1
        elif field == 3:
            raise ModelError(f"tensor {name!r} is stored in segments, which HAL does not read")
    try:
        element_type = ElementType(number)
    except ValueError:
        raise ModelError(f"tensor {name!r} has the unknown element type {number}") from None
    shape = checked_shape(dims, f"tensor {name!r}")
    if is_external:
        data = external.read(name, element_type, math.prod(shape), outside)
    elif raw is not None:
        data = raw
        if element_type is ElementType.STRING:
            raise ModelError(f"string tensor {name!r} has raw data, which ONNX does not allow")
    else:
        data = _typed_data(name, element_type, shape, typed)
    if element_type is not ElementType.STRING:
        _same_size(name, element_type.nbytes(math.prod(shape)), data.nbytes)
    return name, Tensor(element_type, shape, data)


def checked_shape(dims: list[int], what: str) -> tuple[int, ...]:
    """Dimensions as a shape, none of them negative and their product within bounds."""
    count = 1
    for dim in dims:
        if dim < 0:
            raise ModelError(f"{what} has the negative dimension {dim}")
        count *= max(dim, 1)
        if count > _LARGEST:
            raise ModelError(f"{what} claims more elements than any memory holds: {dims[:8]}")
    if len(dims) > 64:
        raise ModelError(f"{what} has {len(dims)} dimensions; NumPy and HAL go to 64")
    return tuple(dims)


def read_sparse_tensor(view: memoryview, external: ExternalData) -> tuple[str, SparseTensor]:
    """The name (that of its values) and the value of a SparseTensorProto."""
    name = ""
    values = indices = None
    dims: list[int] = []
    for field, kind, value in wire.fields(view):
        if field == 1:
            if values is not None:  # protobuf would merge them
                raise ModelError(f"sparse tensor {name!r} has its values twice")
            name, values = read_tensor(wire.message(value), external)
        elif field == 2:
            if indices is not None:
                raise ModelError(f"sparse tensor {name!r} has its indices twice")
            indices = read_tensor(wire.message(value), external)[1]
        elif field == 3:
            dims += _integers(kind, value)
    if values is None or indices is None:
        raise ModelError(f"sparse tensor {name!r} lacks its values or its indices")
    shape = checked_shape(dims, f"sparse tensor {name!r}")
    count = values.size
    if len(values.shape) != 1 or indices.shape not in ((count,), (count, len(shape))):
        raise ModelError(
            f"sparse tensor {name!r}: {list(values.shape)} values do not fit "
            f"{list(indices.shape)} indices into shape {list(shape)}"
        )
    if indices.element_type is not ElementType.INT64:
        raise ModelError(f"sparse tensor {name!r}: indices are {indices.type}, not tensor(int64)")
    positions = indices.bits()
    limits = np.array(shape if positions.ndim == 2 else [math.prod(shape)], dtype=np.int64)
    if ((positions < 0) | (positions >= limits)).any():
        raise ModelError(f"sparse tensor {name!r}: an index lies outside {list(shape)}")
    return name, SparseTensor(values, indices, shape)


def _integers(kind: int, value: wire.Field) -> list[int]:
    if kind == wire.VARINT:
        return [wire.integer(value)]
    return [int(v) for v in wire.varints(wire.message(value)).view(np.int64)]


def _entry(view: memoryview) -> tuple[str, str]:
    pair = {field: wire.text(value) for field, _, value in wire.fields(view) if field in (1, 2)}
    return pair.get(1, ""), pair.get(2, "")


def _same_size(name: str, expected: int, got: int, unit: str = "bytes") -> None:
    if expected != got:
        raise ModelError(f"tensor {name!r}: its shape needs {expected} {unit}, it has {got}")


def _typed_data(
    name: str,
    element_type: ElementType,
    shape: tuple[int, ...],
    typed: dict[int, list[wire.Field]],
) -> memoryview:
    parts = typed.get(_FIELD.get(element_type, _INT32), [])
    count = math.prod(shape)
    if element_type is ElementType.STRING:
        _same_size(name, count, len(parts), "strings")
        return _strings([bytes(wire.message(p)) for p in parts])
    if element_type in (ElementType.FLOAT, ElementType.COMPLEX64):
        return _joined(name, parts, "<f4", count * (element_type.bits // 32))
    if element_type in (ElementType.DOUBLE, ElementType.COMPLEX128):
        return _joined(name, parts, "<f8", count * (element_type.bits // 64))
    numbers = _numbers(parts)
    packed = element_type.bits in (2, 4)
    _same_size(name, element_type.nbytes(count) if packed else count, numbers.size, "entries")
    half = element_type is ElementType.FLOAT16  # stored as its bit pattern
    stored = np.ascontiguousarray(numbers.astype("<u2" if half else element_type.storage))
    if element_type.bits == 6:  # one element an entry, where raw data is a packed stream
        return Tensor.from_numpy(stored & 0x3F, element_type).data
    return stored.reshape(-1).view(np.uint8).data


def _numbers(parts: list[wire.Field]) -> np.ndarray[Any, Any]:
    single = [p for p in parts if isinstance(p, int)]
    if len(single) == len(parts):
        return np.array(single, dtype=np.uint64)
    arrays = [
        np.array([p], dtype=np.uint64) if isinstance(p, int) else wire.varints(p) for p in parts
    ]
    return np.concatenate(arrays)


def _joined(name: str, parts: list[wire.Field], dtype: str, count: int) -> memoryview:
    views = [wire.message(p) for p in parts]
    data = views[0] if len(views) == 1 else memoryview(b"".join(views))
    _same_size(name, count * np.dtype(dtype).itemsize, data.nbytes)
    return data


def _strings(items: list[bytes]) -> memoryview:
    offsets = np.zeros(len(items) + 1, dtype="<i8")
    np.cumsum([len(s) for s in items], out=offsets[1:])
    return memoryview(offsets.tobytes() + b"".join(items))
