"""A reader of ONNX models that needs neither onnx nor protobuf.

`read_model` gives a ModelGraph of frozen dataclasses. Models are untrusted input: whatever the
bytes are, the answer is a checked graph or one ModelError.
"""

from __future__ import annotations

import dataclasses
import shlex
import struct

from hal.errors import ModelError
from hal.graph._check import checked
from hal.graph._decode import Decoder
from hal.graph._external import ExternalData
from hal.graph._outputs import with_outputs
from hal.graph._signature import Signature, read_signature
from hal.graph.ir import (
    AttributeValue,
    Dim,
    Function,
    Graph,
    ModelGraph,
    Node,
    Reference,
    SparseTensor,
    TypeInfo,
    ValueInfo,
)
from hal.model import Model

__all__ = [
    "AttributeValue",
    "Dim",
    "Function",
    "Graph",
    "ModelGraph",
    "Node",
    "Reference",
    "Signature",
    "SparseTensor",
    "TypeInfo",
    "ValueInfo",
    "check_external",
    "read_function",
    "read_model",
    "read_signature",
    "with_outputs",
]


def read_model(model: Model) -> ModelGraph:
    """Decode and check a model; tensors view `model.data`, external data is mapped.

    Raises ModelError, with one line on what is wrong, for anything that is not a valid model.
    """
    if not model.source:
        return _read(model)
    try:
        return _read(model)
    except ModelError as error:
        checker = f"import onnx; onnx.checker.check_model({model.source!r}, full_check=True)"
        raise ModelError(
            f"{model.source}: {error}",
            next_step=error.next_step
            or f"see what ONNX says of it: python -c {shlex.quote(checker)}",
        ) from None


def _read(model: Model) -> ModelGraph:
    try:
        external = ExternalData(model.folder)
        graph = checked(Decoder(external).model(memoryview(model.data)))
        return dataclasses.replace(graph, external=external.files)
    except (RecursionError, MemoryError, OverflowError, ValueError, struct.error) as error:
        # A net below the checks above it: no malformed file may end as another exception.
        raise ModelError(f"malformed model: {type(error).__name__}: {error}") from None


def check_external(model: Model) -> None:
    """Raise ModelError unless the model's external data is readable and inside its folder: for a
    backend whose runtime would follow any path. Quick for a model that tells its files."""
    if model.external is None:
        if model.folder is not None:
            read_model(model)
        return
    external = ExternalData(model.folder)
    for location in model.external:
        external.check(location)


def read_function(data: bytes) -> Function:
    """Decode a serialized FunctionProto, such as the body of an operator's schema."""
    return Decoder(ExternalData(None)).function(memoryview(data))
