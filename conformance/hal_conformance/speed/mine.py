"""Mines the zoo for what its models ask of each operator: `python -m hal_conformance.speed.mine`.

Each model runs once in onnxruntime, unoptimised and with every intermediate value as an output, on
the inputs and the sizes that `hal.inputs` draws. So shapes are those of a real run, not inferred.
Writes usage.json beside this file.
"""

from __future__ import annotations

import collections
import json
import math
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from hal.contract import operator_key
from hal.graph import read_model
from hal.inputs import draw_inputs
from hal.types import ElementType
from hal_conformance import models

__all__ = ["KEPT", "SCHEMA", "main", "mine"]

SCHEMA = "hal.usage/1"
KEPT = 2
"""Instances kept of an operator: those on which the models spend most elements."""
_SMALL = 64
"""Integers up to this many are kept by value: shapes, axes, pads."""
_SCALARS = 4
"""Floats up to this many are kept by value if they are constants: bounds, exponents."""

Json = dict[str, Any]


def main(arguments: list[str]) -> int:
    """Mine the named models, by default all, and write the file."""
    data = mine(arguments or models.names(), tell=lambda text: print(text, flush=True))
    (Path(__file__).parent / "usage.json").write_text(text_of(data), "utf-8")
    return 0


def text_of(data: Json) -> str:
    """The file's text: an operator a line."""
    rows = ",\n".join(
        f"{json.dumps(k)}:{json.dumps(v, separators=(',', ':'), allow_nan=False)}"
        for k, v in data["operators"].items()
    )
    head = json.dumps({k: v for k, v in data.items() if k != "operators"}, separators=(",", ":"))
    return f'{head[:-1]},"operators":{{\n{rows}\n}}}}\n'


def mine(names: Iterable[str], tell: Any = lambda text: None) -> Json:
    """What these models of the zoo ask of each operator. Raises UsageError for an unknown name."""
    names = sorted(names)
    nodes: collections.Counter[str] = collections.Counter()
    within: collections.Counter[str] = collections.Counter()
    counts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for name in names:
        found = list(_instances(name))
        nodes.update(key for key, _ in found)
        within.update({key for key, _ in found})
        for key, instance in found:
            if instance is not None:
                counts[key][json.dumps(instance, allow_nan=False)] += 1
        tell(f"{name:14} {len(found):5} nodes")
    operators: Json = {}
    for key in sorted(nodes):
        rated = sorted(
            ((-count * _elements(json.loads(text)), text, count)
             for text, count in counts[key].items())
        )  # fmt: skip
        operators[key] = {
            "nodes": nodes[key],
            "models": within[key],
            "instances": [{"count": c, **json.loads(t)} for _, t, c in rated[:KEPT]],
        }
    return {"schema": SCHEMA, "models": names, "operators": operators}


def _instances(name: str) -> Iterable[tuple[str, Json | None]]:
    model = models.load(name)
    proto = onnx.load_from_string(model.data)
    values = _values(proto, draw_inputs(read_model(model)))
    constants = {t.name for t in proto.graph.initializer}
    opsets = {o.domain: o.version for o in proto.opset_import}
    for node in proto.graph.node:
        key = operator_key(node.domain, node.op_type)
        yield key, _instance(node, values, constants, opsets.get(node.domain, 1))
        if node.op_type == "Constant":
            constants.update(node.output)
        for graph in (a.g for a in node.attribute if a.type == onnx.AttributeProto.GRAPH):
            for inner in graph.node:  # counted, though its shapes stay unknown
                yield operator_key(inner.domain, inner.op_type), None


def _values(proto: onnx.ModelProto, inputs: Mapping[str, Any]) -> dict[str, Any]:
    import onnxruntime

    weights = {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}
    names = [o for n in proto.graph.node for o in n.output if o and n.op_type != "Constant"]
    wanted = onnx.ModelProto()
    wanted.CopyFrom(proto)
    del wanted.graph.output[:]
    wanted.graph.output.extend(onnx.ValueInfoProto(name=o) for o in names)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        wanted.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    given = {k: v.numpy() for k, v in inputs.items()}
    found = dict(zip(names, session.run(names, given), strict=True))
    for node in proto.graph.node:
        if node.op_type == "Constant":
            found[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    return {**weights, **given, **found}


def _instance(
    node: onnx.NodeProto, values: Mapping[str, Any], constants: set[str], opset: int
) -> Json | None:
    graphs = (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)
    used = [*node.input, *node.output]
    if any(a.type in graphs for a in node.attribute) or not all(
        isinstance(values.get(n), np.ndarray) for n in used if n
    ):
        return None
    return {
        "opset": opset,
        "attributes": {a.name: _attribute(a) for a in node.attribute},
        "inputs": [_described(values[n], n in constants) if n else None for n in node.input],
        "outputs": [_described(values[n], None) if n else None for n in node.output],
    }


def _described(array: Any, constant: bool | None) -> Json:
    """Type and shape; for an input also whether it is a constant of the model, and its values or
    their range where they matter."""
    element = ElementType.from_dtype(array.dtype)
    data: Json = {"type": element.onnx_name, "shape": list(array.shape)}
    if constant is None:
        return data
    if constant:
        data["constant"] = True
    whole = array.dtype.kind in "iub"
    if array.size <= (_SMALL if whole else _SCALARS if constant else 0):
        flat = array.ravel().tolist()
        if all(math.isfinite(v) for v in flat):
            data["values"] = flat
    elif array.dtype.kind in "iu":
        data["range"] = [int(array.min()), int(array.max()) + 1]
    return data


def _attribute(attribute: onnx.AttributeProto) -> Any:
    value = onnx.helper.get_attribute_value(attribute)
    if attribute.type == onnx.AttributeProto.TENSOR:
        array = numpy_helper.to_array(value)
        text = ElementType.from_dtype(array.dtype).onnx_name
        some = array.ravel()[:_SMALL].tolist()
        return {"type": text, "shape": list(array.shape), "values": some}
    if isinstance(value, bytes):
        return value.decode("utf-8")
    if isinstance(value, (int, float)):
        return value
    return [v.decode("utf-8") if isinstance(v, bytes) else v for v in value]


def _elements(instance: Json) -> int:
    ends = [*instance["inputs"], *instance["outputs"]]
    return sum(math.prod(e["shape"]) for e in ends if e)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
