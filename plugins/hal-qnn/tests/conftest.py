"""The backend, its emulator, and models of a few nodes."""

from __future__ import annotations

import importlib.util
import platform
import sys
from collections.abc import Callable
from typing import Any

import hal_qnn
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from hal import Device, Model
from hal.backend import Backend

FLOAT = TensorProto.FLOAT


@pytest.fixture(scope="session")
def qnn() -> Backend:
    if importlib.util.find_spec("onnxruntime_qnn") is None:
        pytest.skip("onnxruntime-qnn is not installed")
    return hal_qnn.hal_backends()[0].factory()


@pytest.fixture(scope="session")
def emulator(qnn: Backend) -> Device:
    if sys.platform != "linux" or platform.machine() != "x86_64":
        pytest.skip("the Hexagon emulator runs on x86-64 Linux alone")
    return next(device for device in qnn.devices() if device.id == "qnn:htp-emulator")


@pytest.fixture(scope="session")
def build() -> Callable[..., Model]:
    """build(nodes, inputs, outputs, **weights): inputs and outputs by name, as a float32 shape or
    (element type, shape)."""

    def value(name: str, kind: Any) -> onnx.ValueInfoProto:
        typed = kind if isinstance(kind, tuple) else (FLOAT, kind)
        return helper.make_tensor_value_info(name, *typed)

    def made(
        nodes: list[onnx.NodeProto],
        inputs: dict[str, Any],
        outputs: dict[str, Any],
        **weights: np.ndarray,
    ) -> Model:
        graph = helper.make_graph(
            nodes,
            "g",
            [value(n, k) for n, k in inputs.items()],
            [value(n, k) for n, k in outputs.items()],
            [numpy_helper.from_array(array, name) for name, array in weights.items()],
        )
        imports = [helper.make_opsetid("", 19)]  # the first that the reference quantizes in
        model = helper.make_model(graph, opset_imports=imports, ir_version=9)
        onnx.checker.check_model(model, full_check=True)
        return Model(model.SerializeToString())

    return made


def node(operator: str, inputs: list[str], output: str, name: str, **attributes: Any):
    return helper.make_node(operator, inputs, [output], name=name, **attributes)


@pytest.fixture(scope="session")
def relu(build: Callable[..., Model]) -> Model:
    return build([node("Relu", ["x"], "y", "relu")], {"x": [2, 8]}, {"y": [2, 8]})


@pytest.fixture(scope="session")
def erf(build: Callable[..., Model]) -> Model:
    """Relu, then Erf, which the provider does not take."""
    nodes = [node("Relu", ["x"], "r", "relu"), node("Erf", ["r"], "y", "erf")]
    return build(nodes, {"x": [2, 8]}, {"y": [2, 8]})


@pytest.fixture(scope="session")
def network(build: Callable[..., Model]) -> Model:
    """Conv, Relu, Add, Flatten, MatMul and Softmax; x [1, 3, 8, 8] gives y [1, 4]."""
    rng = np.random.default_rng(7)

    def weights(*shape: int) -> np.ndarray:
        return (rng.standard_normal(shape) * 0.2).astype(np.float32)

    return build(
        [
            node("Conv", ["x", "w", "b"], "c", "conv"),
            node("Relu", ["c"], "r", "relu"),
            node("Add", ["r", "k"], "a", "add"),
            node("Flatten", ["a"], "f", "flatten"),
            node("MatMul", ["f", "m"], "p", "matmul"),
            node("Softmax", ["p"], "y", "softmax"),
        ],
        {"x": [1, 3, 8, 8]},
        {"y": [1, 4]},
        w=weights(8, 3, 3, 3),
        b=weights(8),
        k=weights(1, 8, 1, 1),
        m=weights(288, 4),
    )


@pytest.fixture(scope="session")
def quantized(build: Callable[..., Model]) -> Model:
    """A convolution between QuantizeLinear and DequantizeLinear, its output in steps of 0.1."""
    rng = np.random.default_rng(7)
    return build(
        [
            node("QuantizeLinear", ["x", "s", "z"], "xq", "quantize"),
            node("DequantizeLinear", ["xq", "s", "z"], "xd", "dequantize"),
            node("DequantizeLinear", ["w", "ws", "wz"], "wd", "weights"),
            node("Conv", ["xd", "wd"], "c", "conv"),
            node("QuantizeLinear", ["c", "os", "z"], "cq", "requantize"),
            node("DequantizeLinear", ["cq", "os", "z"], "y", "output"),
        ],
        {"x": [1, 3, 8, 8]},
        {"y": [1, 4, 6, 6]},
        s=np.float32(0.05),
        z=np.uint8(128),
        w=rng.integers(-100, 100, (4, 3, 3, 3)).astype(np.int8),
        ws=np.float32(0.01),
        wz=np.int8(0),
        os=np.float32(0.1),
    )
