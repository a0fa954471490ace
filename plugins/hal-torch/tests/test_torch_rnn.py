"""RNN, GRU and LSTM: the official cases, and every option against the standard's equations."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import hal
from hal.errors import ExecutionError, UnsupportedError

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
HIDDEN, BATCH, STEPS, FEATURES = 4, 3, 5, 2


@pytest.mark.parametrize("operator", GATES)
def test_official_cases(official_failures: Any, operator: str) -> None:
    assert official_failures([operator]) == []


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


FUNCTIONS: dict[str, Any] = {
    "Sigmoid": lambda x, a, b: sigmoid(x),
    "Tanh": lambda x, a, b: np.tanh(x),
    "Relu": lambda x, a, b: np.maximum(x, 0),
    "Affine": lambda x, a, b: a * x + b,
    "LeakyRelu": lambda x, a, b: np.where(x >= 0, x, a * x),
    "ThresholdedRelu": lambda x, a, b: np.where(x >= a, x, 0),
    "ScaledTanh": lambda x, a, b: a * np.tanh(b * x),
    "HardSigmoid": lambda x, a, b: np.clip(a * x + b, 0, 1),
    "Elu": lambda x, a, b: np.where(x >= 0, x, a * (np.exp(x) - 1)),
    "Softsign": lambda x, a, b: x / (1 + np.abs(x)),
    "Softplus": lambda x, a, b: np.log(1 + np.exp(x)),
}


def oracle(operator: str, inputs: Any, given: Any, functions: Any) -> list[Any]:
    """By the standard's equations, a sequence and a step at a time, in float64."""
    x, w, r, b, lengths, h0, c0, p = (
        None if v is None else np.asarray(v, np.float64) for v in (*inputs, *[None] * 8)[:8]
    )
    directions = w.shape[0]
    clip = given.get("clip", np.inf)
    y = np.zeros((STEPS, directions, BATCH, HIDDEN))
    last_h, last_c = np.zeros((2, directions, BATCH, HIDDEN))
    each = len(functions) // directions
    for d in range(directions):
        backward = given.get("direction") == "reverse" or d == 1
        f = functions[d * each : (d + 1) * each]
        wb, rb = np.zeros((2, GATES[operator] * HIDDEN)) if b is None else np.split(b[d], 2)
        for n in range(BATCH):
            h = np.zeros(HIDDEN) if h0 is None else h0[d, n]
            c = np.zeros(HIDDEN) if c0 is None else c0[d, n]
            count = STEPS if lengths is None else int(lengths[n])
            for t in reversed(range(count)) if backward else range(count):
                xw = np.split(w[d] @ x[t, n] + wb, GATES[operator])
                hr = np.split(r[d] @ h + rb, GATES[operator])
                if operator == "RNN":
                    h = f[0](np.clip(xw[0] + hr[0], -clip, clip))
                elif operator == "GRU":
                    z = f[0](np.clip(xw[0] + hr[0], -clip, clip))
                    reset = f[0](np.clip(xw[1] + hr[1], -clip, clip))
                    rows = slice(2 * HIDDEN, None)
                    if given.get("linear_before_reset"):
                        hidden = reset * hr[2]
                    else:
                        hidden = r[d][rows] @ (reset * h) + rb[rows]
                    h = (1 - z) * f[1](np.clip(xw[2] + hidden, -clip, clip)) + z * h
                else:
                    pi, po, pf = np.zeros((3, HIDDEN)) if p is None else np.split(p[d], 3)
                    i = f[0](np.clip(xw[0] + hr[0] + pi * c, -clip, clip))
                    forget = f[0](np.clip(xw[2] + hr[2] + pf * c, -clip, clip))
                    if given.get("input_forget"):
                        forget = 1 - i
                    c = forget * c + i * f[1](np.clip(xw[3] + hr[3], -clip, clip))
                    o = f[0](np.clip(xw[1] + hr[1] + po * c, -clip, clip))
                    h = o * f[2](c)
                y[t, d, n] = h
            last_h[d, n], last_c[d, n] = h, c
    return [y, last_h, last_c][: 3 if operator == "LSTM" else 2]


def node_inputs(operator: str, directions: int, options: Any) -> list[Any]:
    random = np.random.default_rng(1)

    def normal(*shape: int) -> Any:
        return random.normal(size=shape).astype(np.float32)

    rows = GATES[operator] * HIDDEN
    state = (directions, BATCH, HIDDEN)
    inputs = [
        normal(STEPS, BATCH, FEATURES),
        normal(directions, rows, FEATURES),
        normal(directions, rows, HIDDEN) * 0.5,
        normal(directions, 2 * rows) if "bias" in options else None,
        np.int32(options["lengths"]) if "lengths" in options else None,
        normal(*state) if "state" in options else None,
    ]
    if operator == "LSTM":
        inputs.append(normal(*state) if "state" in options else None)
        inputs.append(normal(directions, 3 * HIDDEN) if "peepholes" in options else None)
    while inputs[-1] is None:
        inputs.pop()
    return inputs


DEFAULT = {"RNN": ["Tanh"], "GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"]}
OPTIONS: list[dict[str, Any]] = [
    {},
    {"bias": 1, "state": 1},
    {"bias": 1, "lengths": [5, 0, 3]},
    {"bias": 1, "state": 1, "lengths": [2, 5, 1]},
    {"bias": 1, "lengths": [5, 5, 5]},
    {"bias": 1, "peepholes": 1, "state": 1, "only": "LSTM"},
    {"attributes": {"clip": 0.4}, "bias": 1, "state": 1},
    {"attributes": {"linear_before_reset": 1}, "bias": 1, "only": "GRU"},
    {"attributes": {"linear_before_reset": 1}, "lengths": [2, 5, 1], "only": "GRU"},
    {"attributes": {"input_forget": 1}, "bias": 1, "only": "LSTM"},
]


def check(
    run_node: Any,
    operator: str,
    inputs: Any,
    given: dict[str, Any],
    functions: Any,
    **more: Any,
) -> None:
    want = oracle(operator, inputs, given, functions)
    got = run_node(operator, inputs, ["float"] * len(want), given, **more)
    for have, expected in zip(got, want, strict=True):
        np.testing.assert_allclose(have.numpy(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize(
    ("operator", "options"),
    [(o, options) for o in GATES for options in OPTIONS if options.get("only", o) == o],
    ids=lambda v: v if isinstance(v, str) else "-".join(v) or "plain",
)
def test_options(run_node: Any, operator: str, options: dict[str, Any], direction: str) -> None:
    given = {"hidden_size": HIDDEN, "direction": direction, **options.get("attributes", {})}
    directions = 2 if direction == "bidirectional" else 1
    functions = [lambda x, n=name: FUNCTIONS[n](x, 0, 0) for name in DEFAULT[operator] * directions]
    inputs = node_inputs(operator, directions, options)
    check(run_node, operator, inputs, given, functions, opset=7)
    constant = [i for i in (1, 2, 3) if i < len(inputs) and inputs[i] is not None]
    check(run_node, operator, inputs, given, functions, constant=constant)


@pytest.mark.parametrize("operator", GATES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_activations(run_node: Any, operator: str, name: str) -> None:
    """Another for each direction: the parameters go to those that take them, in order."""
    count = len(DEFAULT[operator])
    names = [name] * count + ["Tanh"] * (count - 1) + ["ScaledTanh"]
    takes_alpha = ["Affine", "LeakyRelu", "ThresholdedRelu", "ScaledTanh", "HardSigmoid", "Elu"]
    takes_beta = ["Affine", "ScaledTanh", "HardSigmoid"]
    alphas, betas, functions = [], [], []
    for at, each in enumerate(names):
        a, b = 0.3 + 0.05 * at, 0.4 - 0.05 * at
        if each in takes_alpha:
            alphas.append(a)
        if each in takes_beta:
            betas.append(b)
        functions.append(lambda x, n=each, a=a, b=b: FUNCTIONS[n](x, a, b))
    given = {
        "hidden_size": HIDDEN,
        "direction": "bidirectional",
        "activations": names,
        "activation_alpha": alphas,
        "activation_beta": betas,
    }
    if operator == "GRU":
        given["linear_before_reset"] = 1
    inputs = node_inputs(operator, 2, {"bias": 1})
    inputs[0], inputs[2] = inputs[0] * 0.3, inputs[2] * 0.3
    check(run_node, operator, inputs, given, functions)


@pytest.mark.parametrize("operator", GATES)
@pytest.mark.parametrize("direction", ["reverse", "bidirectional"])
def test_layout_with_the_batch_first(run_node: Any, operator: str, direction: str) -> None:
    directions = 2 if direction == "bidirectional" else 1
    given = {"hidden_size": HIDDEN, "direction": direction}
    inputs = node_inputs(operator, directions, {"bias": 1, "state": 1})
    outputs = ["float"] * (3 if operator == "LSTM" else 2)
    want = [t.numpy() for t in run_node(operator, inputs, outputs, given)]
    turned = [x if i in (1, 2, 3) or x is None else x.swapaxes(0, 1) for i, x in enumerate(inputs)]
    turned = [None if x is None else np.ascontiguousarray(x) for x in turned]
    got = run_node(operator, turned, outputs, {**given, "layout": 1})
    np.testing.assert_allclose(got[0].numpy(), want[0].transpose(2, 0, 1, 3), rtol=1e-5, atol=1e-6)
    for have, expected in zip(got[1:], want[1:], strict=True):
        np.testing.assert_allclose(have.numpy(), expected.swapaxes(0, 1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["double", "float16", "bfloat16"])
@pytest.mark.parametrize("operator", GATES)
def test_types(run_node: Any, operator: str, name: str) -> None:
    dtype = {"double": np.float64, "float16": np.float16}.get(name, ml_dtypes.bfloat16)
    inputs = [None if x is None else x.astype(dtype) for x in node_inputs(operator, 1, {"bias": 1})]
    wide = [None if x is None else x.astype(np.float32) for x in inputs]
    (want,) = run_node(operator, wide, ["float"], {"hidden_size": HIDDEN})
    (got,) = run_node(operator, inputs, [name], {"hidden_size": HIDDEN})
    np.testing.assert_allclose(
        got.numpy().astype(np.float32),
        want.numpy().astype(dtype).astype(np.float32),
        rtol=1e-2,
        atol=1e-4,
    )


@pytest.mark.parametrize("operator", GATES)
def test_no_steps(run_node: Any, operator: str) -> None:
    inputs = node_inputs(operator, 1, {"state": 1})
    inputs[0] = inputs[0][:0]
    outputs = ["float"] * (3 if operator == "LSTM" else 2)
    got = run_node(operator, inputs, outputs, {"hidden_size": HIDDEN})
    assert got[0].shape == (0, 1, BATCH, HIDDEN)
    np.testing.assert_array_equal(got[1].numpy(), inputs[5])


def test_unknown_activation_is_refused(run_node: Any) -> None:
    given = {"hidden_size": HIDDEN, "activations": ["Swish"]}
    with pytest.raises(UnsupportedError, match="Swish"):
        run_node("RNN", node_inputs("RNN", 1, {}), ["float"], given)


@pytest.mark.parametrize(("layout", "bias"), [(0, True), (1, True), (0, False)])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_lstm_of_constant_weights_over_changing_shapes(
    torch_backend: Any, torch_cpu: Any, direction: str, layout: int, bias: bool
) -> None:
    """The weights are laid out at the first run, for its shape."""
    directions, hidden, features = 2 if direction == "bidirectional" else 1, 96, 64
    random = np.random.default_rng(2)

    def normal(*shape: int) -> Any:
        return random.normal(size=shape).astype(np.float32) / 4

    weights = {
        "w": normal(directions, 4 * hidden, features),
        "r": normal(directions, 4 * hidden, hidden),
        "b": normal(directions, 8 * hidden),
    }
    if not bias:
        del weights["b"]
    info = helper.make_tensor_value_info

    def compiled(fed: Any) -> Any:
        node = helper.make_node(
            "LSTM", ["x", *weights], ["y", "h", "c"], hidden_size=hidden, direction=direction,
            layout=layout,
        )  # fmt: skip
        graph = helper.make_graph(
            [node], "g",
            [info(n, TensorProto.FLOAT, None) for n in ("x", *fed)],
            [info(n, TensorProto.FLOAT, None) for n in "yhc"],
            [numpy_helper.from_array(a, n) for n, a in weights.items() if n not in fed],
        )  # fmt: skip
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
        return torch_backend.compile(torch_cpu, hal.Model(made.SerializeToString()), {})

    constant, fed = compiled(()), compiled(weights)
    for steps, batch in ((32, 1), (7, 4), (32, 1), (32, 2), (1, 33), (32, 0)):
        x = normal(*((steps, batch, features) if layout == 0 else (batch, steps, features)))
        given = {n: hal.Tensor.from_numpy(a) for n, a in {"x": x, **weights}.items()}
        got, want = constant.run({"x": given["x"]}), fed.run(given)
        for name in "yhc":
            np.testing.assert_allclose(
                got[name].numpy(), want[name].numpy(), rtol=1e-4, atol=1e-5, err_msg=name
            )


@pytest.mark.parametrize("operator", ["RNN", "GRU", "LSTM"])
@pytest.mark.parametrize("wrong", ["initial_h", "X"])
@pytest.mark.parametrize("constant", [(), (1, 2)])
def test_wrong_shapes_are_an_error_and_no_crash(
    run_node: Any, operator: str, wrong: str, constant: tuple[int, ...]
) -> None:
    gates = {"RNN": 1, "GRU": 3, "LSTM": 4}[operator]
    drawn = np.random.default_rng(0)
    x = drawn.random((3, 2, 6 if wrong == "X" else 5), np.float32)
    w, r = (drawn.random((1, 4 * gates, n), np.float32) for n in (5, 4))
    h = drawn.random((1, 7 if wrong == "initial_h" else 2, 4), np.float32)
    with pytest.raises(ExecutionError, match="features" if wrong == "X" else "initial state"):
        run_node(
            operator,
            [x, w, r, None, None, h],
            ["float"],
            {"hidden_size": 4},
            constant=constant,
        )
