"""Graphs without their weights: each large tensor becomes a line that says how to draw it again."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

__all__ = ["SEED", "fill", "seeded", "strip"]

SEED = 7
_SMALL = 32
"""Tensors with as many elements or fewer are kept: shapes, scales, constants of formulas."""
_FEW = 8
"""Tensors with as many different values or fewer are kept: masks and tables, no weights."""

_MARK = "seeded: "
_Array = np.ndarray[Any, np.dtype[Any]]


def seeded(name: str, shape: list[int], recipe: str) -> onnx.TensorProto:
    """A float32 weight without data. `recipe` is "normal MEAN DEVIATION" or "uniform LOW HIGH"."""
    return onnx.TensorProto(
        name=name, data_type=onnx.TensorProto.FLOAT, dims=shape, doc_string=_MARK + recipe
    )


def strip(model: onnx.ModelProto) -> None:
    """Take the data of every float32 weight away, and note its distribution in its doc_string.

    What a model before training holds one for one is drawn around that: scales of norms and
    variances uniformly from 0.8 to 1.2, biases and means with deviation 0.05. Notes, names of
    source files and the like go too.
    """
    for tensor in model.graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT or tensor.doc_string.startswith(_MARK):
            continue
        recipe = _recipe(numpy_helper.to_array(tensor))
        if recipe:
            tensor.CopyFrom(seeded(tensor.name, list(tensor.dims), recipe))
    model.doc_string = ""
    del model.metadata_props[:]
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output):
        del value.metadata_props[:]


def fill(model: onnx.ModelProto, seed: int = SEED) -> None:
    """Draw every weight that `strip` took; the same seed gives the same bytes.

    Each tensor has a stream of its own, by its name. Raises ValueError for a recipe that `strip`
    does not write.
    """
    for tensor in model.graph.initializer:
        if not tensor.doc_string.startswith(_MARK):
            continue
        rng = np.random.default_rng([seed, zlib.crc32(tensor.name.encode())])
        kind, *numbers = tensor.doc_string[len(_MARK) :].split()
        first, second = map(float, numbers)
        shape = tuple(tensor.dims)
        if kind == "normal":
            array = rng.standard_normal(shape, np.float32)
        elif kind == "uniform":
            array = rng.random(shape, np.float32)
            second -= first
        else:
            raise ValueError(f"{tensor.name}: no recipe {tensor.doc_string!r}")
        array *= np.float32(second)
        array += np.float32(first)
        tensor.raw_data = array.astype("<f4", copy=False).tobytes()
        tensor.doc_string = ""


def _recipe(array: _Array) -> str:
    """How to draw the like of a tensor; "" for one that is kept as it is."""
    if array.size <= _SMALL or not np.isfinite(array).all():
        return ""
    values = np.unique(array[:1] if array.size > 1 << 20 else array)
    if len(values) == 1 and (array == values[0]).all():
        if values[0] == 1:
            return "uniform 0.8 1.2"
        return "normal 0 0.05" if values[0] == 0 else ""
    if len(values) <= _FEW:
        return ""
    return f"normal {array.mean(dtype=np.float64):.6g} {array.std(dtype=np.float64):.6g}"
