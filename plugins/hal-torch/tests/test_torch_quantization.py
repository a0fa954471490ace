"""Quantization and integer products against ONNX's reference evaluator and exact integers."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from hal_torch.kernels import _integer_products, _integers, quantization

from hal.types import ElementType

E = ElementType
INTEGERS = (E.UINT8, E.INT8, E.UINT16, E.INT16, E.UINT4, E.INT4, E.UINT2, E.INT2)
FLOAT8 = (E.FLOAT8E4M3FN, E.FLOAT8E4M3FNUZ, E.FLOAT8E5M2, E.FLOAT8E5M2FNUZ)
SMALL = (*FLOAT8, E.FLOAT4E2M1, E.FLOAT6E2M3, E.FLOAT6E3M2)
SOURCES = (np.float32, np.float16, ml_dtypes.bfloat16)
NAMES = {"float32": "float", "float64": "double"}
LAYOUTS: dict[str, tuple[tuple[int, ...], dict[str, int]]] = {
    "tensor": ((1,), {}),
    "axis0": ((4,), {"axis": 0}),
    "axis1": ((6,), {"axis": -1}),
    "block": ((4, 2), {"axis": 1, "block_size": 4}),
}
BYTES = (np.uint8, np.int8)


def name(dtype: Any) -> str:
    plain = np.dtype(dtype).name
    return NAMES.get(plain, plain)


def by_name(element_type: Any) -> str:
    return element_type.onnx_name if isinstance(element_type, ElementType) else str(element_type)


def byte_values(dtype: Any, shape: tuple[int, ...]) -> Any:
    limits = np.iinfo(dtype)
    random = np.random.default_rng(len(shape))
    return random.integers(limits.min, limits.max, shape, dtype, endpoint=True)


def test_official_cases(official_failures: Any) -> None:
    own = "QuantizeLinear DequantizeLinear DynamicQuantizeLinear QLinearMatMul QLinearConv"
    assert official_failures({*own.split(), "MatMulInteger", "ConvInteger"}) == []


@pytest.mark.parametrize("to", (*INTEGERS, *SMALL), ids=by_name)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", SOURCES, ids=name)
def test_quantize_and_back(check_node: Any, dtype: Any, layout: str, to: ElementType) -> None:
    random = np.random.default_rng(4)
    shape, attributes = LAYOUTS[layout]
    x = (random.normal(size=(4, 6)) * 20).astype(dtype)
    scale = (np.abs(random.normal(size=shape)) * 0.5 + 0.3).astype(dtype)
    zero = np.zeros(shape, to.dtype())
    if to in INTEGERS and to is not E.INT2:
        zero = (random.integers(0, 2, size=shape) + 1).astype(np.float32).astype(to.dtype())
    out = [to.onnx_name]
    for constant in ((), (1, 2)):
        check_node("QuantizeLinear", [x, scale, zero], out, attributes, opset=28, constant=constant)
    chosen = {**attributes, "output_dtype": int(to)}
    check_node("QuantizeLinear", [x, scale], out, chosen, opset=28)
    codes = x.astype(np.float32).clip(0, 1).round().astype(to.dtype())
    for wanted, more in (([name(dtype)], {}), (["float16"], {"output_dtype": 10})):
        check_node(
            "DequantizeLinear",
            [codes, scale, zero],
            wanted,
            {**attributes, **more},
            opset=28,
            rtol=1e-6 if wanted == ["float"] else 1e-2,
        )


def test_rounding_saturation_and_order(check_node: Any) -> None:
    """Halves go to even before an odd zero point is added; far values do not wrap."""
    x = np.array([0.5, 1.5, -0.5, 1e9, -1e9, np.inf], np.float32)
    scale, zero = np.float32(1).reshape(()), np.array(3, np.uint8)
    want = np.array([3, 5, 3, 255, 0, 255], np.uint8)
    check_node("QuantizeLinear", [x, scale, zero], ["uint8"], opset=10, expected=[want])


def test_int32_is_quantized_and_dequantized(check_node: Any) -> None:
    x = np.array([-300, 5, 7, 300, 2**30], np.int32)
    scale, zero = np.float32(2).reshape(()), np.array(1, np.int8)
    want = np.array([-128, 3, 5, 127, 127], np.int8)
    check_node("QuantizeLinear", [x, scale, zero], ["int8"], opset=13, expected=[want])
    exact = [np.array([-600, 10, 14, 600, 2.0**31], np.float32)]
    check_node("DequantizeLinear", [x, scale], ["float"], opset=13, expected=exact)


def test_precision_of_the_division(check_node: Any) -> None:
    """1001.2 is 1001 in float16, and half of it rounds to 500; in float32 that is 500.6."""
    x = np.array([1001.2], np.float32)
    scale = np.float32(2).reshape(())
    zero = np.array(0, np.int16)
    for precision, want in ((1, 501), (10, 500)):
        check_node(
            "QuantizeLinear",
            [x, scale, zero],
            ["int16"],
            {"precision": precision},
            expected=[np.array([want], np.int16)],
        )


def test_scales_that_are_powers_of_two(check_node: Any) -> None:
    x = np.array([[1.0, 3.0, 8.0, 100.0]], np.float32)
    scale = np.array([[0.5, 4.0]]).astype(ml_dtypes.float8_e8m0fnu)
    attributes = {"axis": 1, "block_size": 2, "output_dtype": int(E.FLOAT4E2M1)}
    want = np.array([[2, 6, 2, 6]], np.float32).astype(ml_dtypes.float4_e2m1fn)
    check_node("QuantizeLinear", [x, scale], ["float4e2m1"], attributes, expected=[want])
    back = np.array([[1, 3, 8, 24]], np.float32)
    attributes = {"axis": 1, "block_size": 2, "output_dtype": 1}
    check_node("DequantizeLinear", [want, scale], ["float"], attributes, expected=[back])


def test_unsaturated_float8(check_node: Any) -> None:
    x, scale = np.array([1e6, -1e6, 1.0], np.float32), np.float32(1).reshape(())
    for to, beyond in ((E.FLOAT8E4M3FN, np.nan), (E.FLOAT8E5M2, np.inf)):
        want = np.array([beyond, -beyond, 1], np.float32).astype(to.dtype())
        attributes = {"saturate": 0, "output_dtype": int(to)}
        check_node("QuantizeLinear", [x, scale], [to.onnx_name], attributes, expected=[want])


def test_dynamic(check_node: Any) -> None:
    random = np.random.default_rng(6)
    for shape in ((3, 4), (), (7,)):
        for shift in (-9.0, 0.0, 9.0):
            x = (random.normal(size=shape) * 3 + shift).astype(np.float32)
            check_node("DynamicQuantizeLinear", [x], ["uint8", "float", "uint8"], opset=20)
    zeros = np.zeros(4, np.float32)
    scale, point = np.array(1 / 255, np.float32), np.array(0, np.uint8)
    for x in (zeros, zeros[:0]):
        check_node(
            "DynamicQuantizeLinear",
            [x],
            ["uint8", "float", "uint8"],
            opset=20,
            expected=[x.astype(np.uint8), scale, point],
        )


@pytest.fixture(params=["float64", "float32"])
def device_without(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The device as it is, and as one that has no float64."""
    if request.param == "float32":
        for module in (_integer_products, quantization):
            monkeypatch.setattr(module, "widest_float", lambda device: torch.float32)


@pytest.mark.usefixtures("device_without")
@pytest.mark.parametrize("right", BYTES, ids=name)
@pytest.mark.parametrize("left", BYTES, ids=name)
def test_matmul_is_exact(check_node: Any, left: Any, right: Any) -> None:
    for shapes in (
        ((3, 5), (5, 4)),
        ((2, 3, 700), (2, 700, 4)),
        ((700,), (700, 4)),
        ((3, 700), (700,)),
        ((5,), (5,)),
        ((3, 0), (0, 4)),
    ):
        a, b = byte_values(left, shapes[0]), byte_values(right, shapes[1])
        wide = a.astype(np.int32), b.astype(np.int32)
        want = np.matmul(*wide)
        check_node("MatMulInteger", [a, b], ["int32"], expected=[np.asarray(want, np.int32)])
        points = np.array(5, left), np.array(7, right)
        want = np.matmul(wide[0] - 5, wide[1] - 7)
        check_node("MatMulInteger", [a, b, *points], ["int32"], expected=[np.int32(want)])
        if a.ndim == b.ndim == 2:
            rows, columns = np.arange(a.shape[0]).astype(left), np.arange(4).astype(right)
            want = np.matmul(wide[0] - rows[:, None].astype(np.int32), wide[1] - columns)
            check_node("MatMulInteger", [a, b, rows, columns], ["int32"], expected=[want])


def test_a_long_sum_is_exact(check_node: Any) -> None:
    a, b = np.full((1, 20001), 255, np.uint8), np.full((20001, 1), 255, np.uint8)
    want = [np.array([[255 * 255 * 20001]], np.int32)]
    check_node("MatMulInteger", [a, b], ["int32"], expected=want)


@pytest.mark.parametrize("right", BYTES, ids=name)
@pytest.mark.parametrize("left", BYTES, ids=name)
def test_qlinear_matmul(check_node: Any, left: Any, right: Any) -> None:
    a, b = byte_values(left, (3, 700)), byte_values(right, (700, 4))
    scales = [np.array(s, np.float32) for s in (0.013, 0.021, 0.5)]
    points = np.array(5, left), np.array(7, right), np.array(3, left)
    inputs = [a, scales[0], points[0], b, scales[1], points[1], scales[2], points[2]]
    for opset in (10, 21):
        check_node("QLinearMatMul", inputs, [name(left)], opset=opset)
    columns = (np.arange(4) * 0.01 + 0.01).astype(np.float32), np.arange(4).astype(right)
    inputs[4:6] = columns
    check_node("QLinearMatMul", inputs, [name(left)], opset=21)


def test_qlinear_matmul_of_float8(check_node: Any) -> None:
    kind = ml_dtypes.float8_e4m3fn
    a, b = np.array([[1, 2], [3, 4]]).astype(kind), np.array([[2, 0], [1, 500]]).clip(-448, 448)
    one, zero = np.array(1, np.float32), np.array(0, np.float32).astype(kind)
    inputs = [a, one, zero, b.astype(kind), one, zero, one, zero]
    want = np.array([[4, 448], [10, 448]], np.float32).astype(kind)
    check_node("QLinearMatMul", inputs, ["float8e4m3fn"], opset=21, expected=[want])


CONVOLUTIONS: tuple[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]], ...] = (
    ((1, 2, 7, 7), (4, 2, 3, 3), {"pads": [1, 1, 1, 1]}),
    ((2, 4, 8, 8), (4, 2, 3, 3), {"group": 2, "strides": [2, 2], "pads": [0, 1, 2, 1]}),
    ((1, 64, 6, 6), (3, 64, 3, 3), {"dilations": [2, 2]}),
    ((2, 128, 5, 5), (4, 64, 3, 3), {"group": 2}),
    ((1, 2, 7, 7), (4, 2, 3, 3), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    ((1, 2, 8, 8), (4, 2, 3, 3), {"auto_pad": "SAME_LOWER", "strides": [2, 2]}),
    ((1, 2, 7, 7), (4, 2, 3, 3), {"auto_pad": "VALID"}),
    ((1, 2, 9), (4, 2, 3), {"pads": [1, 2]}),
)


@pytest.mark.usefixtures("device_without")
@pytest.mark.parametrize(("x_shape", "w_shape", "attributes"), CONVOLUTIONS, ids=str)
def test_convolution(
    check_node: Any,
    x_shape: tuple[int, ...],
    w_shape: tuple[int, ...],
    attributes: dict[str, Any],
) -> None:
    for left in BYTES:
        for right in BYTES:
            x, w = byte_values(left, x_shape), byte_values(right, w_shape)
            points = np.array(9, left), np.array(3, right)
            check_node("ConvInteger", [x, w], ["int32"], attributes)
            check_node("ConvInteger", [x, w, *points], ["int32"], attributes)
            bias = np.arange(w_shape[0], dtype=np.int32) * 500 - 700
            scales = [np.array(s, np.float32) for s in (0.02, 0.01, 0.7)]
            inputs = [x, scales[0], points[0], w, scales[1], points[1], scales[2]]
            last = np.array(4, left)
            check_node("QLinearConv", [*inputs, last, bias], [name(left)], attributes)
            if len(x_shape) != 4:
                continue
            inputs[4] = (np.arange(w_shape[0]) * 0.01 + 0.01).astype(np.float32)
            inputs[5] = np.arange(w_shape[0]).astype(right)
            check_node("QLinearConv", [*inputs, last], [name(left)], attributes)
            check_node("ConvInteger", [x, w, points[0], inputs[5]], ["int32"], attributes)


def test_devices_without_float64_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(*shape: int, dtype: torch.dtype, device: str) -> torch.Tensor:
        raise TypeError(f"{device} has no {dtype}")

    device = torch.device("cpu")
    _integers._widest_float.cache_clear()
    try:
        with monkeypatch.context() as patch:
            patch.setattr(torch, "zeros", refusing)
            assert _integers.widest_float(device) is torch.float32
    finally:
        _integers._widest_float.cache_clear()
    assert _integers.widest_float(device) is torch.float64
