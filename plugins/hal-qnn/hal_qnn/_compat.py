"""Workarounds for what onnxruntime and the QNN provider do, each with the version that shows it."""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterable
from typing import Any

import onnxruntime
from hal_onnxruntime.session import Record

from hal.graph import read_model
from hal.model import Model

__all__ = ["external_weights", "without_layout"]

_LAYOUT = re.compile(r"Transpose(_token_\d+)?")


def without_layout(records: Iterable[Record], names: Iterable[str]) -> tuple[Record, ...]:
    """The record of an assignment without the Transposes that onnxruntime puts around nodes whose
    layout the provider wants as NHWC; they stand for no node of the model.

    1.31.1 names them "Transpose" and "Transpose_token_3".
    """
    known = set(names)
    return tuple(
        record
        for record in records
        if record[1] != "Transpose" or record[0] in known or not _LAYOUT.fullmatch(record[0])
    )


def external_weights(model: Model) -> dict[str, Any]:
    """The initializers that lie in other files, as OrtValues over the mapped files.

    The provider of onnxruntime-qnn 2.7.0 finds no external data of a model that is given as bytes
    ("Data length mismatch for static tensor"), whatever folder the session names. Raises ModelError
    for a file that is missing, too small or outside the model's folder.
    """
    if model.folder is None:
        return {}
    return {
        name: onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(
            tensor.bits(), int(tensor.element_type)
        )
        for name, tensor in read_model(model).graph.initializers.items()
        if isinstance(memoryview(tensor.data).obj, mmap.mmap)
    }
