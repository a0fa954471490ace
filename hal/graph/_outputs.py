"""More outputs for a model: values in its middle that are wanted too."""

from __future__ import annotations

from collections.abc import Iterable

from hal.errors import ModelError
from hal.graph import _wire as wire
from hal.model import Model

__all__ = ["with_outputs"]

_GRAPH, _OUTPUT = 7, 12  # field numbers of ModelProto and GraphProto in onnx.proto


def with_outputs(model: Model, names: Iterable[str]) -> Model:
    """The model with `names`, values of its main graph, as outputs behind its own.

    The new outputs state no type, as ONNX allows; what an engine infers it is. Raises ModelError
    for bytes that are no model.
    """
    view = memoryview(model.data)
    found: list[bytes | memoryview] = []
    graph = b"".join(bytes(wire.field(_OUTPUT, wire.field(1, name.encode()))) for name in names)
    seen = False
    for number, kind, value in wire.fields(view):
        if number != _GRAPH:
            found += wire.copied(number, kind, value)
            continue
        seen = True
        body = wire.message(value)
        found += [wire.head(_GRAPH, wire.LENGTH), wire.varint(len(body) + len(graph)), body, graph]
    if not seen:
        raise ModelError("not an ONNX model: it has no graph")
    return Model(b"".join(found), model.folder)
