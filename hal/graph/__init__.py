"""A reader of ONNX models that needs neither onnx nor protobuf.

`read_model` gives a ModelGraph of frozen dataclasses. Models are untrusted input: whatever the
bytes are, the answer is a checked graph or one ModelError.
"""

from __future__ import annotations

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
    "read_function",
    "read_model",
    "read_signature",
    "with_outputs",
]


def read_model(model: Model) -> ModelGraph:
    """Decode and check a model; tensors view `model.data`, external data is mapped.

    Raises ModelError, with one line on what is wrong, for anything that is not a valid model.
    """
    try:
        return checked(Decoder(ExternalData(model.folder)).model(memoryview(model.data)))
    except (RecursionError, MemoryError, OverflowError, ValueError, struct.error) as error:
        # A net below the checks above it: no malformed file may end as another exception.
        raise ModelError(f"malformed model: {type(error).__name__}: {error}") from None


def read_function(data: bytes) -> Function:
    """Decode a serialized FunctionProto, such as the body of an operator's schema."""
    return Decoder(ExternalData(None)).function(memoryview(data))
