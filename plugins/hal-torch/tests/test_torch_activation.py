"""Activations against ONNX's reference evaluator, whose functions are the standard's own bodies."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

FLOATS = (np.float32, np.float64, np.float16, ml_dtypes.bfloat16)
TOLERANCE = {"float32": 1e-5, "float64": 1e-7, "float16": 4e-3, "bfloat16": 3e-2}
NAMES = {"float32": "float", "float64": "double"}
PLAIN: tuple[tuple[str, dict[str, Any]], ...] = (
    ("Relu", {}),
    ("Sigmoid", {}),
    ("Tanh", {}),
    ("Softplus", {}),
    ("Softsign", {}),
    ("HardSwish", {}),
    ("Mish", {}),
    ("LeakyRelu", {}),
    ("LeakyRelu", {"alpha": 0.3}),
    ("Elu", {}),
    ("Elu", {"alpha": 2.0}),
    ("Celu", {}),
    ("Celu", {"alpha": 2.0}),
    ("Selu", {}),
    ("Selu", {"alpha": 2.0, "gamma": 3.0}),
    ("Gelu", {}),
    ("Gelu", {"approximate": "tanh"}),
    ("HardSigmoid", {}),
    ("HardSigmoid", {"alpha": 1 / 6}),
    ("HardSigmoid", {"alpha": 0.5, "beta": 0.6}),
    ("ThresholdedRelu", {}),
    ("ThresholdedRelu", {"alpha": 2.0}),
    ("Swish", {}),
    ("Swish", {"alpha": 0.5}),
)
ALONG = ("Softmax", "LogSoftmax", "Hardmax")


def name(dtype: Any) -> str:
    plain = np.dtype(dtype).name
    return NAMES.get(plain, plain)


def test_official_cases(official_failures: Any) -> None:
    own = {op_type for op_type, _ in PLAIN} | {*ALONG, "PRelu", "Shrink", "SwiGLU"}
    assert official_failures(own) == []


@pytest.mark.parametrize("dtype", FLOATS, ids=name)
@pytest.mark.parametrize(("op_type", "attributes"), PLAIN, ids=str)
def test_plain(
    check_node: Any, values: Any, op_type: str, attributes: dict[str, Any], dtype: Any
) -> None:
    rtol = TOLERANCE[np.dtype(dtype).name]
    if op_type == "Gelu" and dtype is np.float64:
        rtol = 1e-4  # the reference's erf is computed in float32
    for shape in ((3, 4), (1,), (0, 3)):
        x = values(dtype, shape)
        opset = 28 if op_type == "Celu" else 25
        check_node(op_type, [x], [name(dtype)], attributes, opset=opset, rtol=rtol, atol=rtol)


def test_extremes_do_not_overflow(run_node: Any) -> None:
    x = np.array([-200.0, 200.0, np.inf, -np.inf], np.float32)
    for op_type, want in (
        ("Softplus", [0, 200, np.inf, 0]),
        ("Sigmoid", [0, 1, 1, 0]),
        ("Elu", [-1, 200, np.inf, -1]),
        ("Mish", [0, 200, np.inf, None]),
    ):
        (got,) = run_node(op_type, [x], ["float"])
        for value, expected in zip(got.numpy().tolist(), want, strict=True):
            assert expected is None or value == pytest.approx(expected, abs=1e-30), op_type


@pytest.mark.parametrize("dtype", FLOATS, ids=name)
def test_softmax_of_every_version(check_node: Any, values: Any, dtype: Any) -> None:
    rtol = TOLERANCE[np.dtype(dtype).name]
    x = values(dtype, (2, 3, 4))
    wide = x.astype(np.float64)
    for axis in (0, 1, 2, -1, -2):
        exp = np.exp(wide - wide.max(axis=axis, keepdims=True))
        want = (exp / exp.sum(axis=axis, keepdims=True)).astype(dtype)
        attributes = {"axis": axis}
        options = {"rtol": rtol, "atol": rtol}
        check_node("Softmax", [x], [name(dtype)], attributes, expected=[want], **options)
        if dtype is ml_dtypes.bfloat16:
            continue
        flat = wide.reshape(int(np.prod(x.shape[: axis % 3])), -1)
        exp = np.exp(flat - flat.max(axis=1, keepdims=True))
        soft = (exp / exp.sum(axis=1, keepdims=True)).reshape(x.shape)
        hard = (flat == flat.max(axis=1, keepdims=True)).reshape(x.shape)
        for opset in (7, 11) if axis >= 0 else (11,):
            options["opset"] = opset
            for op_type, found in (
                ("Softmax", soft),
                ("LogSoftmax", np.log(soft)),
                ("Hardmax", hard),
            ):
                expected = [found.astype(dtype)]
                check_node(op_type, [x], [name(dtype)], attributes, expected=expected, **options)


def test_softmax_of_nothing(check_node: Any) -> None:
    for shape in ((0, 3), (2, 0)):
        x = np.zeros(shape, np.float32)
        for op_type in ALONG:
            check_node(op_type, [x], ["float"], expected=[x])
            check_node(op_type, [x], ["float"], opset=11, expected=[x])


def test_hardmax_takes_the_first_of_equals(check_node: Any) -> None:
    x = np.array([[1, 3, 3], [2, 2, 1]], np.float32)
    want = [np.array([[0, 1, 0], [1, 0, 0]], np.float32)]
    check_node("Hardmax", [x], ["float"], expected=want)


@pytest.mark.parametrize("constant", [(), (1,)], ids=["fed", "constant"])
@pytest.mark.parametrize("dtype", (*FLOATS, np.int32, np.int64, np.uint32, np.uint64), ids=name)
def test_prelu(check_node: Any, values: Any, dtype: Any, constant: tuple[int, ...]) -> None:
    x = values(dtype, (2, 3, 4))
    rtol = TOLERANCE.get(np.dtype(dtype).name, 0.0)
    for shape in ((3, 1), (1,), (2, 3, 4), (4,)):
        slope = np.arange(1, 1 + int(np.prod(shape))).astype(dtype).reshape(shape)
        check_node("PRelu", [x, slope], [name(dtype)], rtol=rtol, atol=rtol, constant=constant)


def test_prelu_by_channel_before_version_7(check_node: Any, values: Any) -> None:
    x, slope = values(np.float32, (2, 3, 4)), np.array([0.1, 0.2, 0.3], np.float32)
    want = [np.where(x > 0, x, x * slope[:, None])]
    check_node("PRelu", [x, slope], ["float"], opset=6, rtol=1e-6, expected=want)


@pytest.mark.parametrize(
    "dtype", (np.float32, np.float64, np.float16, np.int8, np.int64, np.uint8, np.uint16, np.uint32)
)
def test_shrink(check_node: Any, dtype: Any) -> None:
    x = np.array([0, 1, 2, 3, 100]).astype(dtype)
    x = x if np.dtype(dtype).kind == "u" else np.concatenate([x, -x])
    check_node("Shrink", [x], [name(dtype)], {"lambd": 1.5, "bias": 1.0}, rtol=1e-3)


@pytest.mark.parametrize("alpha", [1.0, 0.5])
@pytest.mark.parametrize("dtype", FLOATS, ids=name)
def test_swiglu(check_node: Any, values: Any, dtype: Any, alpha: float) -> None:
    rtol = TOLERANCE[np.dtype(dtype).name]
    a, b = values(dtype, (3, 4)), values(dtype, (3, 4))[::-1].copy()
    check_node(
        "SwiGLU", [a, b], [name(dtype)], {"alpha": alpha}, opset=28, rtol=rtol * 2, atol=rtol
    )
