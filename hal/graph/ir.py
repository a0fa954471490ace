"""An ONNX model as frozen dataclasses. The words are those of onnx.proto."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Union

from hal.tensor import Tensor

__all__ = [
    "AttributeValue",
    "Dim",
    "Function",
    "Graph",
    "ModelGraph",
    "Node",
    "Reference",
    "SparseTensor",
    "TypeInfo",
    "ValueInfo",
]

Dim = Union[int, str, None]
"""A dimension: its size, the name of a symbol, or None when nothing is said."""


@dataclasses.dataclass(frozen=True)
class TypeInfo:
    """A type: its full type string ("seq(tensor(float))", "" when unknown), and the shape of its
    tensor where it is a tensor's and known."""

    type: str
    shape: tuple[Dim, ...] | None = None


@dataclasses.dataclass(frozen=True)
class ValueInfo:
    """A named value of a graph with its type and, for tensors, its shape (None: rank unknown)."""

    name: str
    type: str = ""
    shape: tuple[Dim, ...] | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class SparseTensor:
    """A sparse tensor: `indices` is [n] (linear) or [n, rank], int64; `values` is [n]."""

    values: Tensor
    indices: Tensor
    shape: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Reference:
    """An attribute of a function body's node that takes the value of the function's attribute."""

    name: str


@dataclasses.dataclass(frozen=True, eq=False)
class Node:
    """One operator call. An absent optional input or output has the name ""."""

    name: str
    op_type: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, AttributeValue]
    overload: str = ""

    @property
    def operator(self) -> str:
        """The operator's key: "Softmax", or "domain::Name" for other domains than ai.onnx."""
        return f"{self.domain}::{self.op_type}" if self.domain else self.op_type

    @property
    def label(self) -> str:
        """How messages name the node."""
        if self.name:
            return f"node {self.name!r} ({self.operator})"
        output = next((o for o in self.outputs if o), "")
        return f"node ({self.operator}) that gives {output!r}"


@dataclasses.dataclass(frozen=True, eq=False)
class Graph:
    """A graph. After `read_model` its nodes stand in topological order."""

    name: str
    nodes: tuple[Node, ...]
    inputs: tuple[ValueInfo, ...]
    outputs: tuple[ValueInfo, ...]
    initializers: Mapping[str, Tensor]
    sparse_initializers: Mapping[str, SparseTensor]
    value_info: Mapping[str, ValueInfo]
    data: memoryview = dataclasses.field(default=memoryview(b""), repr=False)
    """The serialized GraphProto."""


@dataclasses.dataclass(frozen=True, eq=False)
class Function:
    """A function: model-local, or the body of an operator's schema. `defaults` holds the
    attributes that have a default value; `attributes` the names of the others."""

    name: str
    domain: str
    overload: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: tuple[str, ...]
    defaults: Mapping[str, AttributeValue]
    nodes: tuple[Node, ...]
    opset_import: Mapping[str, int]


@dataclasses.dataclass(frozen=True, eq=False)
class ModelGraph:
    """A whole model. The default domain is "" everywhere ("ai.onnx" is read as "")."""

    ir_version: int
    opset_import: Mapping[str, int]
    graph: Graph
    functions: Mapping[tuple[str, str, str], Function]
    """By (domain, name, overload)."""
    producer: str = ""
    external: tuple[str, ...] = ()
    """The files beside the model that hold tensors of it, as it names them."""


AttributeValue = Union[
    int,
    float,
    str,
    bytes,
    Tensor,
    SparseTensor,
    Graph,
    TypeInfo,
    Reference,
    tuple[int, ...],
    tuple[float, ...],
    tuple[Union[str, bytes], ...],
    tuple[Tensor, ...],
    tuple[SparseTensor, ...],
    tuple[Graph, ...],
    tuple[TypeInfo, ...],
]
"""A string attribute that is not UTF-8 stays bytes."""
