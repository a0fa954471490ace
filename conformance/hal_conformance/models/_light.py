"""The nine "light" models of the onnx wheel, with weights that tell right from wrong.

As they come their weights are a constant each, which no engine can get wrong or slow.
"""

from __future__ import annotations

import importlib
import math
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from hal_conformance.models._weights import SEED, fill, seeded

__all__ = ["light"]


def light(name: str) -> onnx.ModelProto:
    """A light model with its batch left open, each weight a recipe (see `_weights`)."""
    source = Path(onnx.__file__).parent / "backend/test/data/light" / f"light_{name}.onnx"
    model = onnx.load(source)
    model.ir_version = max(model.ir_version, 4)  # before it, weights are inputs too
    graph = model.graph
    given = {t.name: t for t in graph.initializer}
    scales = _scales(graph)
    made: dict[str, onnx.TensorProto] = {}
    kept = []
    for node in graph.node:
        if node.op_type != "ConstantOfShape" or node.input[0] not in given:
            kept.append(node)
            continue
        shape = numpy_helper.to_array(given[node.input[0]]).tolist()
        made[node.output[0]] = _weight(node.output[0], shape, scales)
    for tensor in graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT and not tensor.name.endswith("__SHAPE"):
            made[tensor.name] = _weight(tensor.name, list(tensor.dims), scales)
    read = {i for node in kept for i in node.input}
    tensors = {**given, **made}
    del graph.node[:], graph.initializer[:]
    graph.node.extend(kept)
    graph.initializer.extend(t for n, t in tensors.items() if n in read)
    inputs = [i for i in graph.input if i.name not in tensors]
    del graph.input[:]
    graph.input.extend(inputs)
    _free_batch(graph)
    _calm(model)
    return model


def _calm(model: onnx.ModelProto) -> None:
    """Scale what a last Softmax reads to a deviation of two: over what an untrained deep net gives
    it, it would say one for one class and zero for the others, and hide every error."""
    softmax, gemm = model.graph.node[-1], model.graph.node[-2]
    weights = [t for t in model.graph.initializer if t.name in gemm.input[1:]]
    if (gemm.op_type, softmax.op_type, len(weights)) != ("Gemm", "Softmax", 2):
        return
    seen = onnx.ModelProto()
    seen.CopyFrom(model)
    fill(seen)
    del seen.graph.output[:], seen.graph.node[-1]
    seen.graph.output.append(onnx.ValueInfoProto(name=softmax.input[0]))
    onnxruntime = importlib.import_module("onnxruntime")
    session = onnxruntime.InferenceSession(seen.SerializeToString())
    (info,) = session.get_inputs()
    image = np.random.default_rng(SEED).standard_normal((1, *info.shape[1:]), np.float32)
    deviation = float(session.run(None, {info.name: image})[0].std())
    for tensor in weights:
        *words, spread = tensor.doc_string.split()
        tensor.doc_string = " ".join([*words, f"{float(spread) * 2 / deviation:.6g}"])


def _free_batch(graph: onnx.GraphProto) -> None:
    """The first dimension of what goes in, of what comes out and of every Reshape between."""
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    weights = {t.name: t for t in graph.initializer}
    for node in graph.node:
        if node.op_type == "Reshape" and node.input[0] not in weights:
            tensor = weights[node.input[1]]
            shape = numpy_helper.to_array(tensor).copy()
            shape[0] = 0  # as the input's
            tensor.CopyFrom(numpy_helper.from_array(shape, tensor.name))


def _scales(graph: onnx.GraphProto) -> set[str]:
    """Names of what multiplies: it is drawn around one, or a deep net would fade or overflow."""
    found: set[str] = set()
    for node in reversed(graph.node):
        if node.op_type == "BatchNormalization":
            found |= {node.input[1], node.input[4]}
        elif node.op_type == "Mul":
            found |= set(node.input)
        elif node.op_type in ("Unsqueeze", "Reshape") and node.output[0] in found:
            found.add(node.input[0])
    return found


def _weight(name: str, shape: list[int], scales: set[str]) -> onnx.TensorProto:
    if name in scales:
        recipe = "uniform 0.8 1.2"
    elif len(shape) > 1:  # He: the variance of what goes in is that of what comes out
        recipe = f"normal 0 {math.sqrt(2 / max(math.prod(shape[1:]), 1)):.6g}"
    else:
        recipe = "normal 0 0.05"
    return seeded(name, shape, recipe)
