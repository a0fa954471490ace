"""Writes small ONNX models as protobuf, with nothing but the standard library.

Field numbers are those of onnx.proto; only what a probe needs is here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Union

from hal.types import ElementType

__all__ = ["AttributeValue", "Graph", "TensorLiteral", "graph", "int64s", "model", "node", "zeros"]


class Graph(bytes):
    """A serialized GraphProto, told apart from text when it is an attribute."""


class TensorLiteral(bytes):
    """A serialized TensorProto."""


class TypeLiteral(bytes):
    """A serialized TypeProto."""


AttributeList = Union[Sequence[int], Sequence[float], Sequence[str]]
AttributeValue = Union[int, float, str, Graph, TensorLiteral, TypeLiteral, AttributeList]


class Port(NamedTuple):
    """A graph input or output: its name, type string, and shape (None: unknown)."""

    name: str
    type: str
    shape: Sequence[int] | None = None


def int64s(name: str, values: Sequence[int], shape: Sequence[int] | None = None) -> TensorLiteral:
    """An int64 tensor of these values; `shape` defaults to a vector."""
    data = struct.pack(f"<{len(values)}q", *values)
    return _tensor(name, ElementType.INT64, [len(values)] if shape is None else shape, data)


def zeros(name: str, type_: str, shape: Sequence[int]) -> TensorLiteral:
    """A tensor of zeros (empty strings) of a type string such as "tensor(float)"."""
    element = ElementType.from_onnx_name(type_[len("tensor(") : -1])
    count = 1
    for extent in shape:
        count *= extent
    if element is ElementType.STRING:
        head = b"".join(_int(1, d) for d in shape) + _int(2, element)
        return TensorLiteral(head + b"".join(_bytes(6, b"") for _ in range(count)) + _text(8, name))
    return _tensor(name, element, shape, bytes(element.nbytes(count)))


def node(
    op_type: str,
    inputs: Sequence[str],
    outputs: Sequence[str],
    attributes: Mapping[str, AttributeValue] | None = None,
    *,
    domain: str = "",
    name: str = "",
) -> bytes:
    """A NodeProto."""
    parts = [_text(1, i) for i in inputs] + [_text(2, o) for o in outputs]
    parts += [_text(3, name), _text(4, op_type)]
    parts += [_bytes(5, _attribute(n, v)) for n, v in (attributes or {}).items()]
    return b"".join(parts) + (_text(7, domain) if domain else b"")


def graph(
    name: str,
    nodes: Iterable[bytes],
    inputs: Iterable[Port],
    outputs: Iterable[Port],
    initializers: Iterable[TensorLiteral] = (),
) -> Graph:
    """A GraphProto."""
    parts = [_bytes(1, n) for n in nodes] + [_text(2, name)]
    parts += [_bytes(5, i) for i in initializers]
    parts += [_bytes(11, _port(p)) for p in inputs] + [_bytes(12, _port(p)) for p in outputs]
    return Graph(b"".join(parts))


def model(main: Graph, opsets: Mapping[str, int], ir_version: int) -> bytes:
    """A ModelProto; the default domain is "ai.onnx" or ""."""
    parts = [_int(1, ir_version), _text(2, "hal"), _bytes(7, main)]
    for domain, version in opsets.items():
        spelled = "" if domain == "ai.onnx" else domain
        parts.append(_bytes(8, _text(1, spelled) + _int(2, version)))
    return b"".join(parts)


def type_literal(type_: str, shape: Sequence[int] | None = None) -> TypeLiteral:
    """The TypeProto of a type string; `shape` is that of a tensor, or of a container's tensors."""
    kind, _, rest = type_.partition("(")
    inner = rest[:-1]
    if kind == "tensor":
        body = _int(1, ElementType.from_onnx_name(inner))
        if shape is not None:
            body += _bytes(2, b"".join(_bytes(1, _int(1, extent)) for extent in shape))
        return TypeLiteral(_bytes(1, body))
    if kind == "map":
        key, _, value = inner.partition(",")
        value_type = type_literal(f"tensor({value.strip()})", shape)
        body = _int(1, ElementType.from_onnx_name(key)) + _bytes(2, value_type)
        return TypeLiteral(_bytes(5, body))
    field = {"seq": 4, "optional": 9}[kind]
    return TypeLiteral(_bytes(field, _bytes(1, type_literal(inner, shape))))


def _port(port: Port) -> bytes:
    return _text(1, port.name) + _bytes(2, type_literal(port.type, port.shape))


def _tensor(name: str, element: ElementType, shape: Sequence[int], data: bytes) -> TensorLiteral:
    dims = b"".join(_int(1, d) for d in shape)
    return TensorLiteral(dims + _int(2, element) + _text(8, name) + _bytes(9, data))


def _attribute(name: str, value: AttributeValue) -> bytes:
    head = _text(1, name)
    if isinstance(value, Graph):
        return head + _bytes(6, value) + _int(20, 5)
    if isinstance(value, TensorLiteral):
        return head + _bytes(5, value) + _int(20, 4)
    if isinstance(value, TypeLiteral):
        return head + _bytes(14, value) + _int(20, 13)
    if isinstance(value, int):
        return head + _int(3, value) + _int(20, 2)
    if isinstance(value, float):
        return head + _float(2, value) + _int(20, 1)
    if isinstance(value, str):
        return head + _text(4, value) + _int(20, 3)
    return head + _list(value)


def _list(values: AttributeList) -> bytes:
    parts, kind = b"", 7
    for value in values:
        if isinstance(value, int):
            parts, kind = parts + _int(8, value), 7
        elif isinstance(value, str):
            parts, kind = parts + _text(9, value), 8
        elif isinstance(value, float):
            parts, kind = parts + _float(7, value), 6
    return parts + _int(20, kind)


def _int(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value & (2**64 - 1))


def _float(field: int, value: float) -> bytes:
    return _varint(field << 3 | 5) + struct.pack("<f", value)


def _text(field: int, value: str) -> bytes:
    return _bytes(field, value.encode())


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
