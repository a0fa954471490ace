"""Eight-bit operators of com.microsoft against onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

F32 = np.float32
STEP = {"rtol": 0.0, "atol": 1.0}
"""One quantum: onnxruntime multiplies by reciprocals of scales where the definition divides."""


def floats(*shape: int, seed: int = 1) -> Any:
    return np.random.default_rng(seed).normal(size=shape).astype(F32)


def whole(dtype: Any, *shape: int, seed: int = 1) -> Any:
    limits = np.iinfo(dtype)
    return np.random.default_rng(seed).integers(limits.min, limits.max + 1, shape).astype(dtype)


def scalar(value: float, dtype: Any = F32) -> Any:
    return np.array(value, dtype=dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
@pytest.mark.parametrize("op_type", ["QLinearAdd", "QLinearMul"])
def test_qlinear_binary(check_ort: Any, op_type: str, dtype: Any) -> None:
    a = [whole(dtype, 3, 1, 5), scalar(0.02), scalar(3, dtype)]
    b = [whole(dtype, 4, 5, seed=2), scalar(0.05), scalar(7, dtype)]
    out = [scalar(0.06), scalar(11, dtype)]
    check_ort(op_type, [*a, *b, *out], [np.dtype(dtype).name], **STEP)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
@pytest.mark.parametrize(
    ("op_type", "attributes", "scale"),
    [
        ("QLinearSigmoid", {}, 1 / 256),
        ("QLinearLeakyRelu", {"alpha": 0.1}, 0.03),
        ("QLinearSoftmax", {"opset": 13, "axis": 1}, 1 / 256),
        ("QLinearSoftmax", {"opset": 11, "axis": 1}, 1 / 256),
        ("QLinearGlobalAveragePool", {}, 0.01),
        ("QLinearGlobalAveragePool", {"channels_last": 1}, 0.01),
        ("QLinearAveragePool", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}, 0.02),
        (
            "QLinearAveragePool",
            {"kernel_shape": [2, 2], "strides": [2, 2], "channels_last": 1},
            0.02,
        ),
        (
            "QLinearAveragePool",
            {"kernel_shape": [3, 2], "pads": [1, 0, 1, 1], "count_include_pad": 1},
            0.02,
        ),
    ],
)
def test_qlinear_unary(
    check_ort: Any, op_type: str, attributes: Any, scale: float, dtype: Any
) -> None:
    inputs = [whole(dtype, 2, 3, 4, 5), scalar(0.03), scalar(5, dtype), scalar(scale)]
    check_ort(op_type, [*inputs, scalar(9, dtype)], [np.dtype(dtype).name], attributes, **STEP)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_qlinear_concat_and_where(check_ort: Any, dtype: Any) -> None:
    x = [whole(dtype, 2, 3), scalar(0.03), scalar(5, dtype)]
    y = [whole(dtype, 2, 3, seed=2), scalar(0.05), scalar(2, dtype)]
    out = [scalar(0.05), scalar(9, dtype)]
    name = [np.dtype(dtype).name]
    check_ort("QLinearConcat", [*out, *x, *y], name, {"axis": 1}, constant=range(8), **STEP)
    condition = np.array([[True, False, True]])
    check_ort("QLinearWhere", [condition, *x, *y, *out], name, constant=(2, 3, 5, 6, 7, 8), **STEP)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_nhwc_max_pool(check_ort: Any, dtype: Any) -> None:
    attributes = {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 1, 1]}
    check_ort("NhwcMaxPool", [whole(dtype, 1, 5, 6, 4)], [np.dtype(dtype).name], attributes)


@pytest.mark.parametrize("per_column", [False, True])
@pytest.mark.parametrize("quantized", [False, True])
@pytest.mark.parametrize(("a_type", "b_type"), [("uint8", "int8"), ("int8", "int8")])
def test_qgemm(check_ort: Any, a_type: str, b_type: str, quantized: bool, per_column: bool) -> None:
    a, b = whole(a_type, 4, 300), whole(b_type, 300, 5, seed=2)
    scale = np.linspace(0.01, 0.05, 5, dtype=F32) if per_column else scalar(0.02)
    zero = np.arange(5).astype(b_type) if per_column else scalar(3, b_type)
    c = np.arange(-2, 3, dtype=np.int32) * 1000
    out = [scalar(4.0), scalar(6, a_type)] if quantized else []
    inputs = [a, scalar(0.03), scalar(4, a_type), b, scale, zero, c, *out]
    tolerance: Any = STEP if quantized else {"rtol": 1e-4, "atol": 1e-3}
    check_ort("QGemm", inputs, [a_type if quantized else "float"], {"alpha": 1.0}, **tolerance)


@pytest.mark.parametrize("per_column", [False, True])
@pytest.mark.parametrize("b_type", ["int8", "uint8"])
def test_dynamic_and_integer_matmul(check_ort: Any, b_type: str, per_column: bool) -> None:
    b = whole(b_type, 16, 5, seed=2)
    scale = np.linspace(0.01, 0.05, 5, dtype=F32) if per_column else scalar(0.02)
    zero = np.arange(5).astype(b_type) if per_column else scalar(3, b_type)
    bias = floats(5)
    check_ort(
        "DynamicQuantizeMatMul", [floats(2, 3, 16), b, scale, zero, bias], ["float"], atol=1e-3
    )
    a = whole(np.uint8, 2, 3, 16)
    inputs = [a, b, scalar(0.03), scale, scalar(4, np.uint8), zero, bias]
    check_ort("MatMulIntegerToFloat", inputs, ["float"], atol=1e-3)


@pytest.mark.parametrize("last", [0, 1])
@pytest.mark.parametrize(("x_type", "w_type"), [("uint8", "int8"), ("int8", "int8")])
def test_qlinear_conv(check_ort: Any, x_type: str, w_type: str, last: int) -> None:
    x = whole(x_type, 1, 6, 7, 4) if last else whole(x_type, 1, 4, 6, 7)
    w = whole(w_type, 8, 2, 3, 3, seed=2)
    inputs = [
        *(x, scalar(0.02), scalar(3, x_type)),
        *(w, np.linspace(0.001, 0.01, 8, dtype=F32), np.zeros(8, w_type)),
        *(scalar(0.3), scalar(7, x_type)),
        np.arange(8, dtype=np.int32) * 100,
    ]
    attributes = {"group": 2, "pads": [1, 0, 1, 1], "channels_last": last}
    check_ort("QLinearConv", inputs, [x_type], attributes, constant=range(1, 9), **STEP)


@pytest.mark.parametrize("axis", [None, 1])
@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16"])
def test_quantize_and_dequantize(check_ort: Any, dtype: str, axis: int | None) -> None:
    attributes = {} if axis is None else {"axis": axis}
    scale = scalar(0.02) if axis is None else np.array([0.01, 0.02, 0.05], F32)
    zero = scalar(3, dtype) if axis is None else np.array([1, 2, 3], dtype)
    check_ort("QuantizeLinear", [floats(2, 3, 4) * 9, scale, zero], [dtype], attributes)
    check_ort("DequantizeLinear", [whole(dtype, 2, 3, 4), scale, zero], ["float"], attributes)
