"""What is rewritten before code is made of a program on the CPU: fewer steps, the same results."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

import hal

RNG = np.random.default_rng(5)
DEPTH, WIDTH = 48, 40
W = RNG.standard_normal((DEPTH, WIDTH)).astype(np.float32)
ROW = RNG.standard_normal(WIDTH).astype(np.float32)
SHAPES = [(3, DEPTH), (2, 150, DEPTH), (1, DEPTH), (300, DEPTH), (0, DEPTH), (2, 0, DEPTH)]
"""Few rows, enough for oneDNN to be worth it, and few again with the weight packed."""

onednn = pytest.mark.skipif(not torch._C._has_mkldnn, reason="this torch is built without oneDNN")


def node(op_type: str, inputs: str, output: str, **attributes: Any) -> Any:
    return helper.make_node(op_type, inputs.split(), [output], name=output, **attributes)


@pytest.fixture
def compiled(torch_backend, torch_cpu):
    def make(nodes: Any, weights: Any, outputs: str = "y", mode: str = "eager") -> Any:
        info, kind = helper.make_tensor_value_info, TensorProto.FLOAT
        graph = helper.make_graph(
            nodes,
            "g",
            [info("x", kind, None)],
            [info(name, kind, None) for name in outputs.split()],
            [numpy_helper.from_array(a, n) for n, a in weights.items()],
        )
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
        model = hal.Model(made.SerializeToString())
        return torch_backend.compile(torch_cpu, model, {"mode": mode})

    return make


def run(executable: Any, x: Any) -> list[Any]:
    return [v.numpy() for v in executable.run({"x": hal.Tensor.from_numpy(x)}).values()]


PRODUCTS = {
    "matmul": ([node("MatMul", "x w", "y")], {"w": W}, 0),
    "bias": ([node("MatMul", "x w", "p"), node("Add", "p b", "y")], {"w": W, "b": ROW}, ROW),
    "bias-first": ([node("MatMul", "x w", "p"), node("Add", "b p", "y")], {"w": W, "b": ROW}, ROW),
    "scalar": (
        [node("MatMul", "x w", "p"), node("Add", "p b", "y")],
        {"w": W, "b": np.float32(2)},
        2,
    ),
    "itself": ([node("MatMul", "x w", "p"), node("Add", "p p", "y")], {"w": W}, None),
}


@onednn
@pytest.mark.parametrize(
    ("name", "mode"),
    [*((name, "eager") for name in PRODUCTS), ("bias", "compile"), ("itself", "compile")],
)
def test_product(compiled: Any, caplog: Any, name: str, mode: str) -> None:
    nodes, weights, bias = PRODUCTS[name]
    executable = compiled(nodes, weights, mode=mode)
    assert executable.source.count(" = k") == (1 if "bias" in name else len(nodes))
    shapes = [*SHAPES, (DEPTH,)] if mode == "eager" else SHAPES[:2]
    for shape in shapes:
        x = RNG.standard_normal(shape).astype(np.float32)
        product = x.astype(np.float64) @ W
        (got,) = run(executable, x)
        want = 2 * product if bias is None else product + bias
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)
    # A model that TorchInductor fails over runs as in eager mode.
    assert not [r for r in caplog.records if r.name.startswith("hal_torch")]
    assert {p.device for p in executable.placement().nodes} == {"torch:cpu"}


@pytest.mark.parametrize("bias", [None, (WIDTH,), (1, WIDTH), (1,), (300, 1)], ids=str)
@pytest.mark.parametrize(
    "attributes", [{}, {"transB": 1}, {"transA": 1}, {"alpha": 0.5}, {"beta": 2.0}], ids=str
)
def test_gemm(compiled: Any, attributes: Any, bias: Any) -> None:
    weights = {"w": np.ascontiguousarray(W.T) if attributes.get("transB") else W}
    want: Any = 0.0
    if bias is not None:
        weights["b"] = RNG.standard_normal(bias).astype(np.float32)
        want = attributes.get("beta", 1.0) * weights["b"].astype(np.float64)
    nodes = [node("Gemm", "x w b" if bias else "x w", "y", **attributes)]
    x = RNG.standard_normal((300, DEPTH)).astype(np.float32)
    want = want + attributes.get("alpha", 1.0) * (x.astype(np.float64) @ W)
    executable = compiled(nodes, weights)
    fed = np.ascontiguousarray(x.T) if attributes.get("transA") else x
    np.testing.assert_allclose(run(executable, fed)[0], want, rtol=1e-4, atol=1e-4)


def test_product_that_others_read_keeps_its_value(compiled: Any) -> None:
    nodes = [node("MatMul", "x w", "p"), node("Add", "p b", "y"), node("Neg", "p", "z")]
    x = RNG.standard_normal((300, DEPTH)).astype(np.float32)
    y, z = run(compiled(nodes, {"w": W, "b": ROW}, "y z"), x)
    np.testing.assert_allclose(y, x @ W + ROW, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(z, -(x @ W), rtol=1e-4, atol=1e-4)


def test_product_of_strided_rows(compiled: Any) -> None:
    nodes = [node("Transpose", "x", "t", perm=[0, 2, 1]), node("MatMul", "t w", "y")]
    x = RNG.standard_normal((2, DEPTH, 200)).astype(np.float32)
    (got,) = run(compiled(nodes, {"w": W}), x)
    np.testing.assert_allclose(got, x.swapaxes(1, 2) @ W, rtol=1e-4, atol=1e-4)


def test_product_of_a_wrong_depth_names_its_node(compiled: Any) -> None:
    executable = compiled([node("MatMul", "x w", "y")], {"w": W})
    for rows in (2, 300, 2):
        with pytest.raises(hal.errors.ExecutionError, match=r"'y'.*\(48, 40\)"):
            run(executable, np.zeros((rows, DEPTH + 1), np.float32))
        run(executable, np.zeros((rows, DEPTH), np.float32))


def _guarded(*, zero: float = 0.0, test: str = "s") -> Any:
    nodes = [
        node("Softmax", "x", "s"),
        node("IsNaN", test, "n"),
        node("Where", "n zero s", "y"),
    ]
    return nodes, {"zero": np.float32(zero)}


X = RNG.standard_normal((3, 4, 5)).astype(np.float32)
X[0, 1] = -np.inf  # a row that is masked whole has no softmax
X[1, 2, 3] = np.nan
X[2, 0, :2] = -np.inf


@pytest.mark.parametrize(
    ("zero", "outputs", "steps"), [(0.0, "y", 2), (1.0, "y", 3), (0.0, "y s", 3)]
)
def test_softmax_guard(compiled: Any, zero: float, outputs: str, steps: int) -> None:
    executable = compiled(*_guarded(zero=zero), outputs)
    assert executable.source.count(" = k") == steps
    got = run(executable, X)
    soft = torch.softmax(torch.from_numpy(X), -1).numpy()
    np.testing.assert_array_equal(got[0], np.where(np.isnan(soft), np.float32(zero), soft))
    if len(got) > 1:
        np.testing.assert_array_equal(got[1], soft)


def test_guard_of_another_value_stays(compiled: Any) -> None:
    executable = compiled(*_guarded(test="x"))
    soft = torch.softmax(torch.from_numpy(X), -1).numpy()
    want = np.where(np.isnan(X), np.float32(0), soft)
    np.testing.assert_array_equal(run(executable, X)[0], want)


def _gelu(**changed: Any) -> Any:
    weights = {
        "half": 0.5,
        "three": 3.0,
        "cubic": 0.044715,
        "scale": np.sqrt(2 / np.pi),
        "one": 1.0,
    }
    nodes = [
        node("Mul", "x half", "h"),
        node("Pow", "x three", "p"),
        node("Mul", "cubic p", "q"),
        node("Add", "x q", "s"),
        node("Mul", "s scale", "m"),
        node("Tanh", "m", "t"),
        node("Add", "t one", "o"),
        node("Mul", "h o", "y"),
    ]
    return nodes, {name: np.float32(v) for name, v in {**weights, **changed}.items()}


@pytest.mark.parametrize(
    ("changed", "outputs", "steps"),
    [
        ({}, "y", 1),
        ({"three": 2.0}, "y", 8),
        ({"one": 2.0}, "y", 8),
        ({}, "y t", 8),
        ({}, "y h", 2),
    ],
    ids=str,
)
def test_gelu_written_out(compiled: Any, changed: Any, outputs: str, steps: int) -> None:
    nodes, weights = _gelu(**changed)
    executable = compiled(nodes, weights, outputs)
    assert executable.source.count(" = k") == steps
    x = np.float32([-np.inf, -9, -1.5, -0.0, 0, 1e-3, 0.7, 2, 30, np.inf, np.nan])
    given = {name: float(v) for name, v in weights.items()}
    wide = x.astype(np.float64)
    with np.errstate(all="ignore"):
        inner = given["scale"] * (wide + given["cubic"] * wide ** given["three"])
        want = wide * given["half"] * (np.tanh(inner) + given["one"])
    got = run(executable, x)
    np.testing.assert_allclose(got[0], want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("first", [(1, 2, 3, 4, 5), (-1, 2, 3, 4, 5), (0, 2, 3, 4, 5)], ids=str)
@pytest.mark.parametrize("second", [(1, 6, 4, 5), (-1, 6, 4, 5), (0, 6, 4, 5)], ids=str)
def test_channel_shuffle(compiled: Any, first: Any, second: Any) -> None:
    nodes = [
        node("Reshape", "x a", "p"),
        node("Transpose", "p", "q", perm=[0, 2, 1, 3, 4]),
        node("Reshape", "q b", "y"),
    ]
    executable = compiled(nodes, {"a": np.int64(first), "b": np.int64(second)})
    assert executable.source.count(" = k") == 1
    shapes = [(1, 6, 4, 5), (1, 120), (1, 4, 6, 5), (1, 6, 5, 4)]
    if 1 not in (first[0], second[0]):
        shapes += [(3, 6, 4, 5), (2, 2, 3, 20)]
    for shape in shapes:
        x = RNG.standard_normal(shape).astype(np.float32)
        parts = x.reshape([shape[0] if n == 0 else n for n in first]).swapaxes(1, 2)
        want = parts.reshape([parts.shape[0] if n == 0 else n for n in second])
        np.testing.assert_array_equal(run(executable, x)[0], want)
    if 1 in (first[0], second[0]):
        with pytest.raises(hal.errors.ExecutionError, match="'p'"):
            run(executable, np.zeros((2, 6, 4, 5), np.float32))


@pytest.mark.parametrize(
    ("perm", "second"), [([0, 1, 2, 4, 3], (1, 6, 4, 5)), ([0, 2, 1, 3, 4], (1, 6, 5, 4))], ids=str
)
def test_other_reshapes_stay(compiled: Any, perm: Any, second: Any) -> None:
    nodes = [
        node("Reshape", "x a", "p"),
        node("Transpose", "p", "q", perm=perm),
        node("Reshape", "q b", "y"),
    ]
    executable = compiled(nodes, {"a": np.int64([1, 2, 3, 4, 5]), "b": np.int64(second)})
    x = RNG.standard_normal((1, 6, 4, 5)).astype(np.float32)
    want = x.reshape(1, 2, 3, 4, 5).transpose(perm).reshape(second)
    np.testing.assert_array_equal(run(executable, x)[0], want)
