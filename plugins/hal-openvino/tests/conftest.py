"""A backend, its CPU, and models of a few nodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import hal_openvino
import onnx
import pytest
from onnx import TensorProto, helper

from hal import Device, Model
from hal.backend import Backend


@pytest.fixture(scope="session")
def openvino() -> Backend:
    return hal_openvino.hal_backends()[0].factory()


@pytest.fixture(scope="session")
def cpu(openvino: Backend) -> Device:
    return next(device for device in openvino.devices() if device.id == "openvino:cpu")


@pytest.fixture(scope="session")
def build() -> Callable[..., Model]:
    """build(nodes, inputs, outputs): inputs and outputs by name, as (element type, shape) or a
    TypeProto."""

    def value(name: str, kind: Any) -> onnx.ValueInfoProto:
        if isinstance(kind, onnx.TypeProto):
            return helper.make_value_info(name, kind)
        return helper.make_tensor_value_info(name, *kind)

    def made(
        nodes: Sequence[onnx.NodeProto],
        inputs: dict[str, Any],
        outputs: dict[str, Any],
        *,
        opset: int = 21,
        ir: int = 10,
        **parts: Any,
    ) -> Model:
        functions = parts.pop("functions", [])
        graph = helper.make_graph(
            list(nodes),
            "g",
            [value(n, k) for n, k in inputs.items()],
            [value(n, k) for n, k in outputs.items()],
            **parts,
        )
        imports = [("", opset), ("ai.onnx.ml", 3), ("local", 1)]
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid(*pair) for pair in imports],
            ir_version=ir,
            functions=functions,
        )
        return Model(model.SerializeToString())

    return made


@pytest.fixture(scope="session")
def relu(build: Callable[..., Model]) -> Model:
    node = helper.make_node("Relu", ["x"], ["y"], name="relu")
    kind = (TensorProto.FLOAT, [4])
    return build([node], {"x": kind}, {"y": kind})
