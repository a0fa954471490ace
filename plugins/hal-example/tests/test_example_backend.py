"""The clone-me plugin: small, and working end to end."""

from __future__ import annotations

import inspect
from pathlib import Path

import hal_example
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import hal
from hal.errors import UnsupportedError


@pytest.fixture
def backend():
    (spec,) = hal_example.hal_backends()
    assert spec.name == "example"
    return spec.factory()


def model(nodes, inputs, outputs, initializers=(), opset=20) -> hal.Model:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(n, t, s) for n, t, s in inputs],
        [helper.make_tensor_value_info(n, t, None) for n, t in outputs],
        [onnx.numpy_helper.from_array(a, n) for n, a in initializers],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    return hal.Model(made.SerializeToString())


def test_spec_declares_what_the_base_can():
    (spec,) = hal_example.hal_backends()
    assert {a.value for a in spec.abilities} >= {"placement", "close", "thread-safe-run"}


def test_module_has_under_40_lines():
    lines = Path(inspect.getfile(hal_example)).read_text().splitlines()
    assert len(lines) < 40


def test_classifier_runs(backend):
    rng = np.random.default_rng(7)
    w, b = rng.random((6, 4), np.float32), rng.random(4, np.float32)
    made = model(
        [
            helper.make_node("Reshape", ["x", "shape"], ["flat"], name="reshape"),
            helper.make_node("MatMul", ["flat", "w"], ["xw"], name="matmul"),
            helper.make_node("Add", ["xw", "b"], ["sum"], name="add"),
            helper.make_node("Relu", ["sum"], ["y"], name="relu"),
        ],
        [("x", TensorProto.FLOAT, ["n", 2, 3])],
        [("y", TensorProto.FLOAT)],
        [("w", w), ("b", b), ("shape", np.array([0, -1]))],
    )
    (device,) = backend.devices()
    assert backend.supports(device, made).supported
    executable = backend.compile(device, made, {})
    x = rng.standard_normal((5, 2, 3)).astype(np.float32)
    got = executable.run({"x": hal.Tensor.from_numpy(x)})["y"].numpy()
    np.testing.assert_allclose(got, np.maximum(x.reshape(5, 6) @ w + b, 0), rtol=1e-6)
    assert {n.node: n.device for n in executable.placement().nodes} == dict.fromkeys(
        ("reshape", "matmul", "add", "relu"), "example:cpu"
    )


def test_function_body_lacks_one_part(backend):
    made = model(
        [helper.make_node("Softsign", ["x"], ["y"], name="s")],
        [("x", TensorProto.FLOAT, [3])],
        [("y", TensorProto.FLOAT)],
        opset=22,
    )
    (device,) = backend.devices()
    with pytest.raises(UnsupportedError, match=r"s \(Softsign-22\): .* lacks Cast-13") as caught:
        backend.compile(device, made, {})
    assert caught.value.nodes == ("s",)


def test_integer_division_is_refused_by_type(backend):
    made = model(
        [helper.make_node("Div", ["x", "x"], ["y"], name="d")],
        [("x", TensorProto.INT32, [3])],
        [("y", TensorProto.INT32)],
    )
    (device,) = backend.devices()
    support = backend.supports(device, made)
    assert [(n.node, n.operator) for n in support.unsupported] == [("d", "Div-14")]
    assert "tensor(int32)" in support.unsupported[0].reason
