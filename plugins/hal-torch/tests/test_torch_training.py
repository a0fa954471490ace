"""Gradients, and one step of each optimizer by the official cases."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hal_torch.kernels import training
from onnx import TensorProto, helper, numpy_helper

import hal
from hal.errors import ModelError

DOMAIN = "ai.onnx.preview.training"


@pytest.mark.parametrize("operator", ["Adam", "Adagrad", "Momentum"])
def test_official_cases(official_failures: Any, operator: str) -> None:
    assert official_failures([f"{DOMAIN}::{operator}"]) == []


def test_first_step_has_no_bias_correction() -> None:
    rate, first = torch.tensor(0.1), torch.tensor(0)
    x, g, zero = torch.tensor([1.0]), torch.tensor([2.0]), torch.tensor([0.0])
    new, v, h = training.adam(rate, first, x, g, zero, zero, alpha=0.9, beta=0.99, epsilon=0.0)
    np.testing.assert_allclose(v, [0.2], rtol=1e-6)
    np.testing.assert_allclose(h, [0.04], rtol=1e-5)
    np.testing.assert_allclose(new, [1 - 0.1 * 0.2 / 0.2], rtol=1e-5)


def test_first_momentum_takes_the_whole_gradient() -> None:
    rate, first = torch.tensor(0.1), torch.tensor(0)
    x, g, v = torch.tensor([1.0]), torch.tensor([2.0]), torch.tensor([1.0])
    options: Any = {"alpha": 0.5, "beta": 0.1, "norm_coefficient": 0.0, "mode": "standard"}
    new, moved = training.momentum(rate, first, x, g, v, **options)
    np.testing.assert_allclose(moved, [2.5], rtol=1e-6)
    np.testing.assert_allclose(new, [0.75], rtol=1e-6)


def test_double_and_several_tensors() -> None:
    rate, step = torch.tensor(0.1), torch.tensor(3)
    xs = [torch.full((2,), float(i + 1), dtype=torch.float64) for i in range(6)]
    made = training.adagrad(rate, step, *xs, decay_factor=0.1, epsilon=1e-6)
    assert [m.dtype for m in made] == [torch.float64] * 4
    for index in range(2):
        x, g, h = xs[index], xs[index + 2], xs[index + 4]
        squared = h + g * g
        np.testing.assert_allclose(made[index + 2], squared)
        want = x - 0.1 / 1.3 * g / (squared.sqrt() + 1e-6)
        np.testing.assert_allclose(made[index], want, rtol=1e-6)


def test_uneven_groups_are_refused() -> None:
    with pytest.raises(ValueError, match="3 groups"):
        training.adagrad(*[torch.ones(1)] * 6)


def _gradients(nodes: Any, inputs: Any, outputs: Any, weights: Any = ()) -> hal.Model:
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "g",
        [info(n, TensorProto.FLOAT, shape) for n, shape in inputs.items()],
        [info(n, TensorProto.FLOAT, None) for n in outputs],
        [numpy_helper.from_array(a, n) for n, a in dict(weights).items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(DOMAIN, 1)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    return hal.Model(made.SerializeToString())


def _ran(torch_backend: Any, device: Any, model: hal.Model, **given: Any) -> dict[str, Any]:
    executable = torch_backend.compile(device, model, {})
    found = executable.run({n: hal.Tensor.from_numpy(x) for n, x in given.items()})
    return {n: v.numpy() for n, v in found.items()}


def _node(op: str, inputs: list[str], outputs: list[str], **attributes: Any) -> Any:
    domain = DOMAIN if op == "Gradient" else ""
    return helper.make_node(op, inputs, outputs, name=outputs[0], domain=domain, **attributes)


def test_official_cases_of_gradients(official_failures: Any) -> None:
    assert official_failures([f"{DOMAIN}::Gradient", "Add", "Mul"]) == []


def test_gradient_through_a_convolution_and_its_activation(
    torch_backend: Any, torch_cpu: Any
) -> None:
    random = np.random.default_rng(5)
    w = random.standard_normal((3, 2, 3, 3)).astype(np.float32)
    x = random.standard_normal((1, 2, 5, 5)).astype(np.float32)
    nodes = [
        _node("Conv", ["x", "w"], ["c"]),
        _node("Relu", ["c"], ["y"]),
        _node("Gradient", ["x"], ["dx"], xs=["x"], y="y"),
    ]
    model = _gradients(nodes, {"x": [1, 2, 5, 5]}, ["y", "dx"], {"w": w})
    got = _ran(torch_backend, torch_cpu, model, x=x)
    leaf = torch.tensor(x, requires_grad=True)
    torch.relu(torch.conv2d(leaf, torch.tensor(w))).sum().backward()
    np.testing.assert_allclose(got["dx"], leaf.grad, rtol=1e-5, atol=1e-5)


def test_gradient_at_other_values_than_the_graphs(torch_backend: Any, torch_cpu: Any) -> None:
    """By an intermediate tensor, at a value that is fed; `l` is neither in xs nor in zs."""
    nodes = [
        _node("Neg", ["x"], ["h"]),
        _node("Mul", ["h", "h"], ["s"]),
        _node("Neg", ["k"], ["l"]),
        _node("Mul", ["s", "l"], ["y"]),
        _node("Gradient", ["at"], ["dh"], xs=["h"], y="y"),
    ]
    model = _gradients(nodes, {"x": [2], "k": [2], "at": [2]}, ["y", "dh"])
    x, k, at = np.float32([1, 2]), np.float32([3, 5]), np.float32([10, 20])
    got = _ran(torch_backend, torch_cpu, model, x=x, k=k, at=at)
    np.testing.assert_array_equal(got["y"], -k * x * x)
    np.testing.assert_array_equal(got["dh"], -2 * k * at)


def test_gradient_of_a_gradient(torch_backend: Any, torch_cpu: Any) -> None:
    nodes = [
        _node("Mul", ["x", "x"], ["s"]),
        _node("Mul", ["s", "x"], ["y"]),
        _node("Gradient", ["x"], ["first"], xs=["x"], y="y"),
        _node("Gradient", ["x", "z"], ["second", ""], xs=["x", "z"], y="first"),
        _node("Gradient", ["z"], ["none"], xs=["z"], y="y"),
    ]
    model = _gradients(nodes, {"x": [2], "z": [2]}, ["first", "second", "none"])
    x = np.float32([1, 3])
    got = _ran(torch_backend, torch_cpu, model, x=x, z=x)
    np.testing.assert_array_equal(got["first"], 3 * x * x)
    np.testing.assert_array_equal(got["second"], 6 * x)
    np.testing.assert_array_equal(got["none"], [0, 0])


def test_gradient_of_nothing_is_refused(torch_backend: Any, torch_cpu: Any) -> None:
    nodes = [_node("Gradient", ["x"], ["dx"], xs=["x"], y="nowhere")]
    with pytest.raises(ModelError, match="no node of its graph gives y='nowhere'"):
        torch_backend.compile(torch_cpu, _gradients(nodes, {"x": [2]}, ["dx"]), {})
    nodes = [_node("Gradient", ["x"], ["dx"], xs=["x", "w"], y="x")]
    with pytest.raises(ModelError, match="1 inputs for the 2 names of xs"):
        torch_backend.compile(torch_cpu, _gradients(nodes, {"x": [2]}, ["dx"]), {})
