"""Operators of com.microsoft against onnxruntime, which defines them: activations and norms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

F32 = np.float32


def floats(*shape: int, seed: int = 1) -> Any:
    return np.random.default_rng(seed).normal(size=shape).astype(F32)


def scalar(value: float, dtype: Any = F32) -> Any:
    return np.array(value, dtype=dtype)


@pytest.mark.parametrize(
    ("op_type", "inputs", "attributes"),
    [
        pytest.param("Gelu", [floats(3, 5)], {}, id="Gelu-float"),
        pytest.param("QuickGelu", [floats(3, 5)], {}, id="QuickGelu-float"),
        pytest.param("QuickGelu", [floats(3, 5)], {"alpha": 1.3}, id="QuickGelu-float-alpha"),
        pytest.param("FastGelu", [floats(3, 8)], {}, id="FastGelu-float"),
        pytest.param("FastGelu", [floats(3, 8), floats(8)], {}, id="FastGelu-float-bias"),
        pytest.param("BiasGelu", [floats(3, 8), floats(8)], {}, id="BiasGelu-float"),
        pytest.param(
            "Inverse", [floats(2, 4, 4) + 4 * np.eye(4, dtype=F32)], {}, id="Inverse-float"
        ),
        pytest.param("Trilu", [floats(2, 4, 5)], {}, id="Trilu-float"),
        pytest.param(
            "Trilu", [floats(4, 5), scalar(-1, np.int64)], {"upper": 0}, id="Trilu-float-lower"
        ),
    ],
)
def test_elementwise(check_ort: Any, op_type: str, inputs: Any, attributes: Any) -> None:
    check_ort(op_type, inputs, ["float"], attributes)


def test_unique_keeps_first_order(check_ort: Any) -> None:
    x = np.array([2, 1, 1, 3, 4, 3, -1], F32)
    check_ort("Unique", [x], ["float", "int64", "int64"])


# BiasAdd and BiasSplitGelu are of CUDA alone in onnxruntime: compared with their definitions


def test_diffusion_operators(run_microsoft: Any) -> None:
    x, skip = floats(2, 3, 8), floats(2, 3, 8, seed=2)
    (got,) = run_microsoft("BiasAdd", [x, floats(8), skip])
    np.testing.assert_allclose(got, x + floats(8) + skip, rtol=1e-6)
    (got,) = run_microsoft("BiasSplitGelu", [x, np.zeros(8, F32)])
    (gelu,) = run_microsoft("Gelu", [x[..., 4:]])
    np.testing.assert_allclose(got, x[..., :4] * gelu, rtol=1e-5)


@pytest.mark.parametrize("outputs", [["float"], ["float", "", "", "float"]], ids=["y", "sum"])
@pytest.mark.parametrize("bias", [False, True])
def test_skip_layer_normalization(check_ort: Any, outputs: Any, bias: bool) -> None:
    x, skip = floats(2, 3, 8), floats(2, 3, 8, seed=2)
    gamma, beta, more = floats(8), floats(8, seed=3), floats(8, seed=4) if bias else None
    check_ort("SkipLayerNormalization", [x, skip, gamma, beta, more], outputs, {"epsilon": 1e-5})
    check_ort("SkipSimplifiedLayerNormalization", [x, skip, gamma, more], outputs)


def test_skip_layer_normalization_shares_skip(check_ort: Any) -> None:
    check_ort("SkipLayerNormalization", [floats(2, 3, 8), floats(3, 8), floats(8)], ["float"])


@pytest.mark.parametrize("dtype", [F32, np.float16, np.float64])
def test_simplified_layer_normalization(check_ort: Any, dtype: Any) -> None:
    x, scale = floats(2, 3, 8).astype(dtype), floats(8).astype(dtype)
    name = {"float32": "float", "float64": "double"}.get(x.dtype.name, x.dtype.name)
    tolerance = 2e-3 if dtype == np.float16 else 1e-5
    check_ort(
        "SimplifiedLayerNormalization",
        [x, scale],
        [name],
        {"epsilon": 1e-6, "axis": -1},
        domain="",
        rtol=tolerance,
        atol=tolerance,
    )


def test_layer_normalization_before_the_standard_had_it(run_node: Any) -> None:
    x, scale, bias = floats(2, 3, 8), floats(8), floats(8, seed=2)
    got, mean, inverse = run_node("LayerNormalization", [x, scale, bias], ["float"] * 3, opset=12)
    centred = x - x.mean(-1, keepdims=True)
    want = centred / np.sqrt(np.square(centred).mean(-1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(got.numpy(), want * scale + bias, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(mean.numpy(), x.mean(-1, keepdims=True), atol=1e-6)
    np.testing.assert_allclose(centred * inverse.numpy(), want, rtol=1e-4, atol=1e-5)
    with pytest.raises(Exception, match="no such operator in opset 12"):
        run_node("Gelu", [x], ["float"], opset=12)


@pytest.mark.parametrize("case", ["plain", "mask", "positions", "no-segments"])
def test_embed_layer_normalization(check_ort: Any, case: str) -> None:
    words = np.array([[1, 3, 0], [4, 2, 2]], np.int32)
    segments = None if case == "no-segments" else np.array([[0, 0, 1], [1, 0, 1]], np.int32)
    tables = [floats(6, 8), floats(5, 8, seed=2), None if segments is None else floats(2, 8)]
    mask = np.array([[1, 1, 0], [1, 1, 1]], np.int32) if case == "mask" else None
    positions = np.array([[4, 1, 0], [0, 1, 2]], np.int32) if case == "positions" else None
    inputs = [words, segments, *tables, floats(8), floats(8, seed=5), mask, positions]
    check_ort("EmbedLayerNormalization", inputs, ["float", "int32", "float"])
