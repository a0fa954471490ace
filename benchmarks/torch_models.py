"""The models that the torch benchmarks run: real architectures with seeded random weights.

The nine "light" models come with the onnx package, their weights a constant each, which no engine
can get wrong or slow; they are seeded anew here, and their batch of one is made free. The other
architectures are exported from transformers (see requirements-models.txt), small configurations of
each, without a download: text takes any sequence length, and Llama is a step with a KV cache.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from torch_architectures import ARCHITECTURES, PAST, SEED, export

from hal.paths import cache_dir

__all__ = ["ARCHITECTURES", "LIGHT", "BenchmarkModel", "installed", "load"]

LIGHT = (
    "bvlc_alexnet",
    "densenet121",
    "inception_v1",
    "inception_v2",
    "resnet50",
    "shufflenet",
    "squeezenet",
    "vgg19",
    "zfnet512",
)
_VERSION = 2
"""Raised with every change of a model: what an older one left in the cache is not used."""


@dataclasses.dataclass(frozen=True)
class BenchmarkModel:
    """A model's file and the inputs to run it with, by name."""

    name: str
    path: Path
    inputs: dict[str, np.ndarray[Any, np.dtype[Any]]]
    dynamic: frozenset[str]
    """What the model leaves open: "batch", "sequence"."""


def installed() -> bool:
    """Whether architectures can be exported here."""
    return all(importlib.util.find_spec(n) for n in ("torch", "transformers", "onnxscript"))


def load(name: str, batch: int = 1, sequence: int = 64) -> BenchmarkModel:
    """A light model or an architecture, made on first use and kept in HAL's cache folder, with
    seeded inputs of that batch and, where the model has one, sequence length (at least 8). Raises
    KeyError for an unknown name, ImportError without transformers."""
    folder = cache_dir() / f"benchmark-models-{_VERSION}"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.onnx"
    if not path.exists():
        part = path.with_suffix(f".{os.getpid()}.part")
        if name in LIGHT:
            _light(name, part)
        else:
            export(name, part)
        part.replace(path)
    return _with_inputs(name, path, batch, sequence)


def _light(name: str, path: Path) -> None:
    source = Path(onnx.__file__).parent / "backend/test/data/light" / f"light_{name}.onnx"
    model = onnx.load(source)
    graph = model.graph
    rng = np.random.default_rng(SEED)
    given = {t.name: t for t in graph.initializer}
    scales = _scales(graph)
    made: dict[str, onnx.TensorProto] = {}
    kept = []
    for node in graph.node:
        if node.op_type != "ConstantOfShape" or node.input[0] not in given:
            kept.append(node)
            continue
        shape = numpy_helper.to_array(given[node.input[0]]).tolist()
        made[node.output[0]] = _weight(rng, node.output[0], shape, scales)
    for tensor in graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT and not tensor.name.endswith("__SHAPE"):
            made[tensor.name] = _weight(rng, tensor.name, list(tensor.dims), scales)
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
    onnx.save(model, path)


def _calm(model: onnx.ModelProto) -> None:
    """Scale what a last Softmax reads to a deviation of two: over what an untrained deep net gives
    it, it would say one for one class and zero for the others, and hide every error."""
    softmax, gemm = model.graph.node[-1], model.graph.node[-2]
    weights = [t for t in model.graph.initializer if t.name in gemm.input[1:]]
    if (gemm.op_type, softmax.op_type, len(weights)) != ("Gemm", "Softmax", 2):
        return
    import onnxruntime

    seen = onnx.ModelProto()
    seen.CopyFrom(model)
    del seen.graph.output[:], seen.graph.node[-1]
    seen.graph.output.append(onnx.ValueInfoProto(name=softmax.input[0]))
    session = onnxruntime.InferenceSession(seen.SerializeToString())
    (info,) = session.get_inputs()
    image = np.random.default_rng(SEED).standard_normal((1, *info.shape[1:]), np.float32)
    deviation = session.run(None, {info.name: image})[0].std()
    for tensor in weights:
        array = numpy_helper.to_array(tensor) * np.float32(2 / deviation)
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


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


def _weight(
    rng: np.random.Generator, name: str, shape: list[int], scales: set[str]
) -> onnx.TensorProto:
    if name in scales:
        array = rng.uniform(0.8, 1.2, shape)
    elif len(shape) > 1:
        array = rng.standard_normal(shape) * np.sqrt(2 / max(np.prod(shape[1:]), 1))
    else:
        array = rng.standard_normal(shape) * 0.05
    return numpy_helper.from_array(array.astype(np.float32), name)


def _with_inputs(name: str, path: Path, batch: int, sequence: int) -> BenchmarkModel:
    rng = np.random.default_rng(SEED)
    sizes = {"batch": batch, "sequence": sequence, "samples": 100 * sequence}
    sizes |= {"past": PAST, "total": PAST + sequence}
    found, dynamic = {}, set()
    for info in onnx.load(path, load_external_data=False).graph.input:
        shape = []
        for dim in info.type.tensor_type.shape.dim:
            free = dim.dim_param
            shape.append(sizes[free] if free else dim.dim_value)
            dynamic.add("sequence" if free == "samples" else free)
        dtype = onnx.helper.tensor_dtype_to_np_dtype(info.type.tensor_type.elem_type)
        if dtype.kind == "f":
            found[info.name] = rng.standard_normal(shape).astype(dtype)
        elif "mask" in info.name:
            mask = np.ones(shape, dtype)
            mask[1::2, :3] = 0  # every other text is shorter, padded on its left
            found[info.name] = mask
        else:
            found[info.name] = rng.integers(3, 100, shape).astype(dtype)
    return BenchmarkModel(name, path, found, frozenset(dynamic & {"batch", "sequence"}))
