"""What a model takes and gives, read without its nodes and weights."""

from __future__ import annotations

import dataclasses
import struct

from hal.errors import ModelError
from hal.graph import _wire as wire
from hal.graph._decode import value_info
from hal.graph.ir import Graph, ValueInfo
from hal.model import Model

__all__ = ["Signature", "read_signature"]


@dataclasses.dataclass(frozen=True)
class Signature:
    """The inputs that a model must be given, its outputs, and the inputs that have an initializer
    as their default."""

    inputs: tuple[ValueInfo, ...]
    outputs: tuple[ValueInfo, ...]
    defaults: tuple[ValueInfo, ...] = ()

    @classmethod
    def of(cls, graph: Graph) -> Signature:
        """The signature of a graph that has been read."""
        given = {**graph.initializers, **graph.sparse_initializers}
        return cls(
            tuple(i for i in graph.inputs if i.name not in given),
            graph.outputs,
            tuple(i for i in graph.inputs if i.name in given),
        )

    @property
    def dynamic(self) -> bool:
        """Whether the shape of an input is left open."""
        return any(
            info.shape is None or not all(isinstance(d, int) for d in info.shape)
            for info in self.inputs
        )


def read_signature(model: Model) -> Signature:
    """The signature of a model; its nodes and the values of its tensors are skipped, not checked.

    Raises ModelError where the bytes are no model.
    """
    try:
        return _read(memoryview(model.data))
    except (RecursionError, MemoryError, OverflowError, ValueError, struct.error) as error:
        raise ModelError(f"malformed model: {type(error).__name__}: {error}") from None


def _read(view: memoryview) -> Signature:
    graph: memoryview | None = None
    for field, _, value in wire.fields(view):
        if field == 7:
            graph = wire.message(value)
    if graph is None:
        raise ModelError("malformed model: it has no graph")
    inputs: list[ValueInfo] = []
    outputs: list[ValueInfo] = []
    tensors: list[tuple[int, memoryview]] = []
    for field, _, value in wire.fields(graph):
        if field == 11:
            inputs.append(value_info(wire.message(value)))
        elif field == 12:
            outputs.append(value_info(wire.message(value)))
        elif field in (5, 15):
            tensors.append((field, wire.message(value)))
    names = {_name(field, tensor) for field, tensor in tensors}
    return Signature(
        tuple(i for i in inputs if i.name not in names),
        tuple(outputs),
        tuple(i for i in inputs if i.name in names),
    )


def _name(field: int, tensor: memoryview) -> str:
    """The name of an initializer; a sparse one has that of its values."""
    wanted = 8 if field == 5 else 1
    name = ""
    for number, _, value in wire.fields(tensor):
        if number == wanted:
            name = wire.text(value) if field == 5 else _name(5, wire.message(value))
    return name
