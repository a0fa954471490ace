"""Models of one node, and inputs for them, from an instance."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper, parser

from hal import ElementType, Model, SequenceValue, Tensor, Value
from hal.contract import contract
from hal_conformance.speed.typical import BRANCHES
from hal_conformance.speed.usage import Argument, Instance

__all__ = ["single_node"]

_CAPTURED = {"If": 1}
"""How many inputs at the end are read by a subgraph, and are none of the node's own."""


def single_node(key: str, instance: Instance, seed: int = 0) -> tuple[Model, dict[str, Value]]:
    """The model of an instance, and what it is fed.

    Constants of the models, and what is kept by value, are initializers; if that is all, the first
    input is fed, so that there is something to run. Numbers are uniform in the instance's range, by
    default from 0 to 1 for floats, which keeps square roots and logarithms real.
    """
    operator = contract().latest(key)
    domain = "" if "::" not in key else operator.domain
    drawn = np.random.default_rng(seed)
    given = [(f"x{i}", a) for i, a in enumerate(instance.inputs) if a]
    fixed = {n for n, a in given if (a.constant or a.values is not None) and key != "If"}
    if given and len(fixed) == len(given):
        fixed.discard(given[0][0])
    inputs: dict[str, Value] = {}
    initializers = []
    for name, argument in given:
        if argument.sequence:
            one = Argument(argument.element, argument.shape[1:], range=argument.range)
            one_type = f"tensor({one.type})"
            parts = [_tensor(one, drawn) for _ in range(argument.shape[0])]
            inputs[name] = SequenceValue(f"seq({one_type})", tuple(parts))
        elif name in fixed:
            initializers.append(numpy_helper.from_array(_tensor(argument, drawn).numpy(), name))
        else:
            inputs[name] = _tensor(argument, drawn)
    names = ["" if a is None else f"x{i}" for i, a in enumerate(instance.inputs)]
    outputs = ["" if a is None else f"y{i}" for i, a in enumerate(instance.outputs)]
    own = names[: len(names) - _CAPTURED.get(key, 0)]
    node = helper.make_node(operator.name, own, outputs, name=operator.name, domain=domain)
    for name, value in instance.attributes.items():
        node.attribute.append(_attribute(name, value))
    for name, text in BRANCHES.get(key, {}).items():
        node.attribute.append(helper.make_attribute(name, parser.parse_graph(text)))
    graph = helper.make_graph(
        [node],
        "speed",
        [_info(n, a) for n, a in given if n in inputs],
        [_info(f"y{i}", a) for i, a in enumerate(instance.outputs) if a],
        initializers,
    )
    opsets = {domain: instance.opset}
    proto = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid(d, v) for d, v in opsets.items()],
        ir_version=contract().ir_version(opsets),
        producer_name="hal",
    )
    return Model(proto.SerializeToString(deterministic=True)), inputs


def _tensor(argument: Argument, drawn: np.random.Generator) -> Tensor:
    dtype = ElementType.from_onnx_name(argument.type).dtype()
    if argument.values is not None:
        return Tensor.from_numpy(np.array(argument.values, dtype).reshape(argument.shape))
    low, high = argument.range or ((0, 2) if dtype.kind in "biu" else (0.0, 1.0))
    if dtype.kind in "biu":
        return Tensor.from_numpy(drawn.integers(int(low), int(high), argument.shape).astype(dtype))
    size = math.prod(argument.shape)
    numbers = drawn.random(size, np.float32) * np.float32(high - low) + np.float32(low)
    return Tensor.from_numpy(numbers.astype(dtype).reshape(argument.shape))


def _attribute(name: str, value: Any) -> onnx.AttributeProto:
    if isinstance(value, Argument):
        dtype = ElementType.from_onnx_name(value.type).dtype()
        array = np.resize(np.array(value.values, dtype), value.shape)
        return helper.make_attribute(name, numpy_helper.from_array(array))
    return helper.make_attribute(name, value)


def _info(name: str, argument: Argument) -> onnx.ValueInfoProto:
    element = getattr(onnx.TensorProto, argument.element.upper())
    if argument.sequence:
        return helper.make_tensor_sequence_value_info(name, element, None)
    return helper.make_tensor_value_info(name, element, argument.shape)
