"""Messages of onnx.proto to the dataclasses of ir.py."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from hal.errors import ModelError
from hal.graph import _wire as wire
from hal.graph._external import ExternalData
from hal.graph._tensors import read_sparse_tensor, read_tensor
from hal.graph.ir import (
    AttributeValue,
    Dim,
    Function,
    Graph,
    ModelGraph,
    Node,
    Reference,
    TypeInfo,
    ValueInfo,
)
from hal.types import ElementType

__all__ = ["Decoder", "default_domain", "value_info"]

DEPTH = 64
"""Graphs inside attributes, and types inside types, at most this deep."""

_UNSET, _FLOAT, _INT, _STRING, _TENSOR, _GRAPH, _FLOATS, _INTS, _STRINGS = range(9)
_TENSORS, _GRAPHS, _SPARSE, _SPARSES, _TYPE, _TYPES = range(9, 15)
_FIELD_OF_KIND = {
    _FLOAT: 2,
    _INT: 3,
    _STRING: 4,
    _TENSOR: 5,
    _GRAPH: 6,
    _FLOATS: 7,
    _INTS: 8,
    _STRINGS: 9,
    _TENSORS: 10,
    _GRAPHS: 11,
    _SPARSE: 22,
    _SPARSES: 23,
    _TYPE: 14,
    _TYPES: 15,
}
_MESSAGES = frozenset({5, 6, 10, 11, 14, 15, 22, 23})
_SINGLE = (_FLOAT, _INT, _STRING, _TENSOR, _GRAPH, _SPARSE, _TYPE)


def default_domain(domain: str) -> str:
    """ "ai.onnx" is another name of the default domain ""."""
    return "" if domain == "ai.onnx" else domain


class Decoder:
    """Decodes one model's messages; `external` gives it the tensors that lie in other files."""

    def __init__(self, external: ExternalData) -> None:
        self._external = external

    def model(self, view: memoryview) -> ModelGraph:
        """A ModelProto."""
        ir_version, producer = 0, ""
        opsets: dict[str, int] = {}
        graph: memoryview | None = None
        functions: dict[tuple[str, str, str], Function] = {}
        for field, _, value in wire.fields(view):
            if field == 1:
                ir_version = wire.integer(value)
            elif field == 2:
                producer = wire.text(value)
            elif field == 7:
                if graph is not None:  # protobuf would merge them, and run what HAL has not seen
                    raise ModelError("malformed model: it has two graphs")
                graph = wire.message(value)
            elif field == 8:
                _opset(wire.message(value), opsets)
            elif field == 25:
                function = self.function(wire.message(value))
                key = (function.domain, function.name, function.overload)
                if key in functions:
                    raise ModelError(f"function {function.domain}::{function.name} appears twice")
                functions[key] = function
        if graph is None:
            raise ModelError("malformed model: it has no graph")
        if ir_version < 3:
            # Before IR 3 there is no opset_import, and nothing says which operators are meant.
            raise ModelError(f"malformed model: IR version {ir_version} (HAL reads 3 and later)")
        if not opsets:
            raise ModelError("malformed model: it imports no operator set")
        return ModelGraph(ir_version, opsets, self.graph(graph), functions, producer)

    def function(self, view: memoryview) -> Function:
        """A FunctionProto."""
        names: dict[int, str] = {}
        lists: dict[int, list[str]] = {4: [], 5: [], 6: []}
        defaults: dict[str, AttributeValue] = {}
        nodes: list[Node] = []
        opsets: dict[str, int] = {}
        for field, _, value in wire.fields(view):
            if field in lists:
                lists[field].append(wire.text(value))
            elif field in (1, 10, 13):
                names[field] = wire.text(value)
            elif field == 7:
                nodes.append(self.node(wire.message(value)))
            elif field == 9:
                _opset(wire.message(value), opsets)
            elif field == 11:
                name, attribute = self._attribute(wire.message(value), 0)
                defaults[name] = attribute
        return Function(
            names.get(1, ""),
            default_domain(names.get(10, "")),
            names.get(13, ""),
            tuple(lists[4]),
            tuple(lists[5]),
            tuple(lists[6]),
            defaults,
            tuple(nodes),
            opsets,
        )

    def graph(self, view: memoryview, depth: int = 0) -> Graph:
        """A GraphProto."""
        if depth > DEPTH:
            raise ModelError(f"malformed model: graphs are nested more than {DEPTH} deep")
        name = ""
        nodes: list[Node] = []
        inputs: list[ValueInfo] = []
        outputs: list[ValueInfo] = []
        values: dict[str, ValueInfo] = {}
        initializers: dict[str, Any] = {}
        sparse: dict[str, Any] = {}
        for field, _, value in wire.fields(view):
            if field == 1:
                nodes.append(self.node(wire.message(value), depth))
            elif field == 2:
                name = wire.text(value)
            elif field == 5:
                key, tensor = read_tensor(wire.message(value), self._external)
                _add(initializers, key, tensor)
            elif field == 15:
                key, scattered = read_sparse_tensor(wire.message(value), self._external)
                _add(sparse, key, scattered)
            elif field == 11:
                inputs.append(value_info(wire.message(value)))
            elif field == 12:
                outputs.append(value_info(wire.message(value)))
            elif field == 13:
                info = value_info(wire.message(value))
                values[info.name] = info
        return Graph(
            name, tuple(nodes), tuple(inputs), tuple(outputs), initializers, sparse, values, view
        )

    def node(self, view: memoryview, depth: int = 0) -> Node:
        """A NodeProto."""
        names: dict[int, str] = {}
        inputs: list[str] = []
        outputs: list[str] = []
        attributes: dict[str, AttributeValue] = {}
        for field, _, value in wire.fields(view):
            if field == 1:
                inputs.append(wire.text(value))
            elif field == 2:
                outputs.append(wire.text(value))
            elif field in (3, 4, 7, 8):
                names[field] = wire.text(value)
            elif field == 5:
                name, attribute = self._attribute(wire.message(value), depth)
                if name in attributes:
                    raise ModelError(f"node {names.get(3, '')!r} has the attribute {name!r} twice")
                attributes[name] = attribute
        domain = default_domain(names.get(7, ""))
        if not names.get(4):
            raise ModelError(f"malformed model: node {names.get(3, '')!r} names no operator")
        return Node(
            names.get(3, ""),
            names[4],
            domain,
            tuple(inputs),
            tuple(outputs),
            attributes,
            names.get(8, ""),
        )

    def _attribute(self, view: memoryview, depth: int) -> tuple[str, AttributeValue]:
        name = reference = ""
        kind = _UNSET
        found: dict[int, list[tuple[int, wire.Field]]] = {}
        for field, encoding, value in wire.fields(view):
            if field == 1:
                name = wire.text(value)
            elif field == 20:
                kind = _KIND_OF_PROTO.get(wire.integer(value), -1)
                if kind < 0:
                    raise ModelError(f"attribute {name!r} is of an unknown kind")
            elif field == 21:
                reference = wire.text(value)
            else:
                found.setdefault(field, []).append((encoding, value))
        if reference:
            if _MESSAGES & found.keys():
                raise ModelError(f"attribute {name!r} is a reference and has a value")
            return name, Reference(reference)
        if kind == _UNSET:
            kind = next((k for k, f in _FIELD_OF_KIND.items() if f in found), _UNSET)
        if kind == _UNSET:
            raise ModelError(f"attribute {name!r} has no value")
        # What ONNX's checker refuses as well: a runtime might look at the other, or merge the two.
        if _MESSAGES & found.keys() - {_FIELD_OF_KIND[kind]}:
            raise ModelError(f"attribute {name!r} has values of two kinds")
        values = found.get(_FIELD_OF_KIND[kind], [])
        if kind in _SINGLE:
            if kind not in _ZERO and len(values) != 1:
                raise ModelError(f"attribute {name!r} has {len(values) or 'no'} values")
            return name, self._single(kind, values[-1][1], depth) if values else _ZERO[kind]
        return name, self._list(kind, values, depth)

    def _single(self, kind: int, value: wire.Field, depth: int) -> AttributeValue:
        if kind == _INT:
            return wire.integer(value)
        view = wire.message(value)
        if kind == _FLOAT:
            return _floats([view])[0]
        if kind == _STRING:
            return _string(view)
        if kind == _TENSOR:
            return read_tensor(view, self._external)[1]
        if kind == _SPARSE:
            return read_sparse_tensor(view, self._external)[1]
        if kind == _GRAPH:
            return self.graph(view, depth + 1)
        return type_info(view)

    def _list(self, kind: int, values: list[tuple[int, wire.Field]], depth: int) -> AttributeValue:
        if kind == _INTS:
            numbers: list[int] = []
            for encoding, value in values:
                if encoding == wire.VARINT:
                    numbers.append(wire.integer(value))
                else:
                    numbers += wire.varints(wire.message(value)).view(np.int64).tolist()
            return tuple(numbers)
        if kind == _FLOATS:
            return tuple(_floats([wire.message(v) for _, v in values]))
        single = {
            _STRINGS: _STRING,
            _TENSORS: _TENSOR,
            _GRAPHS: _GRAPH,
            _SPARSES: _SPARSE,
            _TYPES: _TYPE,
        }[kind]
        items: Any = tuple(self._single(single, value, depth) for _, value in values)
        return items  # type: ignore[no-any-return]  # one kind only, which mypy cannot see


_KIND_OF_PROTO = {
    1: _FLOAT,
    2: _INT,
    3: _STRING,
    4: _TENSOR,
    5: _GRAPH,
    6: _FLOATS,
    7: _INTS,
    8: _STRINGS,
    9: _TENSORS,
    10: _GRAPHS,
    11: _SPARSE,
    12: _SPARSES,
    13: _TYPE,
    14: _TYPES,
    0: _UNSET,
}
_ZERO: dict[int, AttributeValue] = {_FLOAT: 0.0, _INT: 0, _STRING: ""}


def _add(found: dict[str, Any], name: str, value: object) -> None:
    if not name:
        raise ModelError("malformed model: an initializer has no name")
    if name in found:
        raise ModelError(f"initializer {name!r} appears twice")
    found[name] = value


def _floats(views: list[memoryview]) -> list[float]:
    data = b"".join(views)
    if not data or len(data) % 4:
        if not views:
            return []
        raise ModelError("malformed model: a float of the wrong size")
    return list(struct.unpack(f"<{len(data) // 4}f", data))


def _string(view: memoryview) -> str | bytes:
    data = bytes(view)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data


def _opset(view: memoryview, opsets: dict[str, int]) -> None:
    domain, version = "", 0
    for field, _, value in wire.fields(view):
        if field == 1:
            domain = default_domain(wire.text(value))
        elif field == 2:
            version = wire.integer(value)
    if version < 1:
        raise ModelError(f"operator set {domain or 'ai.onnx'!r} has the version {version}")
    # The highest of several: what ONNX's own checker and runtimes do with such a model.
    opsets[domain] = max(version, opsets.get(domain, 0))


def value_info(view: memoryview) -> ValueInfo:
    """A ValueInfoProto."""
    name, info = "", TypeInfo("")
    for field, _, value in wire.fields(view):
        if field == 1:
            name = wire.text(value)
        elif field == 2:
            info = type_info(wire.message(value))
    return ValueInfo(name, info.type, info.shape)


def type_info(view: memoryview, depth: int = 0) -> TypeInfo:
    """A TypeProto: the type string and, for a tensor, its shape."""
    if depth > DEPTH:
        raise ModelError(f"malformed model: types are nested more than {DEPTH} deep")
    found = TypeInfo("")
    for field, _, value in wire.fields(view):
        if field in (1, 8):
            element, shape = _tensor_type(wire.message(value))
            if element:
                prefix = "tensor" if field == 1 else "sparse_tensor"
                found = TypeInfo(f"{prefix}({element})", shape)
        elif field in (4, 9):
            inner = TypeInfo("")
            for number, _, item in wire.fields(wire.message(value)):
                if number == 1:
                    inner = type_info(wire.message(item), depth + 1)
            found = TypeInfo(f"{'seq' if field == 4 else 'optional'}({inner.type})")
        elif field == 5:
            found = _map_type(wire.message(value), depth)
        elif field == 7:
            found = TypeInfo("opaque")
    return found


def _map_type(view: memoryview, depth: int) -> TypeInfo:
    key, inner = "", TypeInfo("")
    for number, _, item in wire.fields(view):
        if number == 1:
            key = _element_name(wire.integer(item))
        elif number == 2:
            inner = type_info(wire.message(item), depth + 1)
    return TypeInfo(f"map({key},{inner.type})")


def _tensor_type(view: memoryview) -> tuple[str, tuple[Dim, ...] | None]:
    element = ""
    shape: tuple[Dim, ...] | None = None
    for field, _, value in wire.fields(view):
        if field == 1:
            element = _element_name(wire.integer(value))
        elif field == 2:
            shape = tuple(
                _dimension(wire.message(item))
                for number, _, item in wire.fields(wire.message(value))
                if number == 1
            )
    return element, shape


def _element_name(number: int) -> str:
    if number == 0:
        return ""
    try:
        return ElementType(number).onnx_name
    except ValueError:
        raise ModelError(f"malformed model: unknown element type {number}") from None


def _dimension(view: memoryview) -> Dim:
    dim: Dim = None
    for field, _, value in wire.fields(view):
        if field == 1:
            size = wire.integer(value)
            dim = size if size >= 0 else None  # some exporters write -1 for an unknown size
        elif field == 2:
            dim = wire.text(value) or None
    return dim
