"""Operators of com.microsoft against onnxruntime, which defines them."""

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


# Activations and small things


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


# Normalizations


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


def test_attention_of_half_precision(run_microsoft: Any) -> None:
    """It stays near the same computation in float."""
    given = {"num_heads": 4, "kv_num_heads": 2, "softcap": 5.0}
    inputs = gqa(3, 4)
    wide = run_microsoft("GroupQueryAttention", inputs, given)
    half = [x.astype(np.float16) if x.dtype == F32 else x for x in inputs]
    for want, got in zip(wide, run_microsoft("GroupQueryAttention", half, given), strict=True):
        assert got.dtype == np.float16
        np.testing.assert_allclose(got.astype(F32), want, atol=5e-3)


@pytest.mark.parametrize("case", ["plain", "mask", "positions", "no-segments"])
def test_embed_layer_normalization(check_ort: Any, case: str) -> None:
    words = np.array([[1, 3, 0], [4, 2, 2]], np.int32)
    segments = None if case == "no-segments" else np.array([[0, 0, 1], [1, 0, 1]], np.int32)
    tables = [floats(6, 8), floats(5, 8, seed=2), None if segments is None else floats(2, 8)]
    mask = np.array([[1, 1, 0], [1, 1, 1]], np.int32) if case == "mask" else None
    positions = np.array([[4, 1, 0], [0, 1, 2]], np.int32) if case == "positions" else None
    inputs = [words, segments, *tables, floats(8), floats(8, seed=5), mask, positions]
    check_ort("EmbedLayerNormalization", inputs, ["float", "int32", "float"])


# Products


@pytest.mark.parametrize(
    ("a", "b", "attributes"),
    [
        ((2, 3, 4), (2, 4, 5), {"alpha": 0.5}),
        ((4, 3), (5, 4), {"transA": 1, "transB": 1}),
        ((3, 2, 4), (2, 4, 5), {"transBatchA": 1}),
        ((4, 2, 3), (2, 4, 5), {"transBatchA": 1, "transA": 1}),
        ((2, 3, 4), (4, 2, 5), {"transBatchB": 1}),
        ((4,), (4, 5), {"transA": 1}),
    ],
)
def test_fused_matmul(check_ort: Any, a: Any, b: Any, attributes: Any) -> None:
    check_ort("FusedMatMul", [floats(*a), floats(*b, seed=2)], ["float"], attributes)
    if not any("Batch" in name for name in attributes):
        check_ort("TransposeMatMul", [floats(*a), floats(*b, seed=2)], ["float"], attributes)


@pytest.mark.parametrize(
    "attributes",
    [
        {"activation": "Relu"},
        {"activation": "LeakyRelu", "activation_alpha": 0.2, "transB": 1},
        {"activation": "Tanh", "alpha": 0.5, "beta": 2.0, "transA": 1},
        {"activation": "HardSigmoid", "activation_alpha": 0.3, "activation_beta": 0.4},
    ],
    ids=lambda a: a["activation"],
)
@pytest.mark.parametrize("bias", [False, True])
def test_fused_gemm(check_ort: Any, attributes: Any, bias: bool) -> None:
    a = floats(4, 3) if attributes.get("transA") else floats(3, 4)
    b = floats(5, 4, seed=2) if attributes.get("transB") else floats(4, 5, seed=2)
    check_ort("FusedGemm", [a, b, floats(5) if bias else None], ["float"], attributes)


@pytest.mark.parametrize(
    "attributes",
    [
        {"activation": "Relu", "pads": [1, 1, 1, 1]},
        {"activation": "Clip", "activation_params": [-0.5, 0.5], "strides": [2, 2]},
        {"activation": "HardSigmoid", "activation_params": [0.2, 0.5], "auto_pad": "SAME_UPPER"},
        {"activation": "Sigmoid", "group": 2},
    ],
    ids=lambda a: a["activation"],
)
def test_fused_conv(check_ort: Any, attributes: Any) -> None:
    w = floats(4, 4 // attributes.get("group", 1), 3, 3, seed=2)
    check_ort("FusedConv", [floats(1, 4, 7, 6), w, floats(4)], ["float"], attributes, rtol=1e-3)


def test_fused_conv_adds_residual(check_ort: Any) -> None:
    inputs = [floats(1, 4, 5, 5), floats(4, 4, 1, 1, seed=2), floats(4), floats(1, 4, 5, 5, seed=3)]
    check_ort("FusedConv", inputs, ["float"], {"activation": "Relu"})


# Packed weights


@pytest.mark.parametrize("constant", [False, True], ids=["fed", "constant"])
@pytest.mark.parametrize("zeros", ["none", "packed", "float"])
@pytest.mark.parametrize(("bits", "block"), [(4, 16), (4, 32), (8, 32), (2, 32)])
def test_matmul_nbits(check_ort: Any, bits: int, block: int, zeros: str, constant: bool) -> None:
    rows, columns = 5, 72  # the last block is not full
    blocks = -(-columns // block)
    inputs = [
        floats(2, 3, columns),
        whole(np.uint8, rows, blocks, block * bits // 8),
        floats(rows, blocks),
        None,
        None,
        floats(rows, seed=3),
    ]
    if zeros == "packed":
        inputs[3] = whole(np.uint8, rows, -(-blocks * bits // 8), seed=4)
    elif zeros == "float":
        if bits != 4:
            pytest.skip("onnxruntime takes zero points as floats for four bits only")
        inputs[3] = floats(rows, blocks, seed=4)
    attributes = {"K": columns, "N": rows, "bits": bits, "block_size": block}
    tolerance = {8: 2e-2, 4: 1e-3, 2: 1e-3}[bits]
    check_ort(
        "MatMulNBits",
        inputs,
        ["float"],
        attributes,
        constant=(1, 2, 3) if constant else (),
        rtol=1e-3,
        atol=tolerance,
    )


@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("bits", [4, 8])
def test_gather_block_quantized(check_ort: Any, bits: int, zeros: bool) -> None:
    data = whole(np.uint8, 6, 64 * bits // 8)
    scales = floats(6, 4)
    zero = whole(np.uint8, 6, 4 * bits // 8, seed=3) if zeros else None
    indices = np.array([[1, 5], [-1, 0]], np.int64)
    attributes = {"bits": bits, "block_size": 16, "quantize_axis": 1, "gather_axis": 0}
    inputs = [data, indices, scales, zero]
    check_ort("GatherBlockQuantized", inputs, ["float"], attributes, constant=(0, 2, 3))


# Eight bits


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


# Attention


@pytest.mark.parametrize(
    "mask",
    [
        None,
        np.array([2, 4], np.int32),
        np.array([2, 4, 1, 0], np.int32),
        np.array([[1, 1, 0, 0], [1, 1, 1, 1]], np.int32),
        np.tril(np.ones((2, 4, 4), np.int32)),
    ],
    ids=["none", "ends", "ends-and-starts", "2d", "3d"],
)
@pytest.mark.parametrize("causal", [0, 1])
def test_attention(check_ort: Any, mask: Any, causal: int) -> None:
    inputs = [floats(2, 4, 6), floats(6, 24, seed=2), floats(24, seed=3), mask]
    attributes = {"num_heads": 2, "unidirectional": causal}
    check_ort("Attention", inputs, ["float"], attributes, constant=(1, 2))


def test_attention_past_bias_and_sizes(check_ort: Any) -> None:
    x, w, b = floats(2, 3, 6), floats(6, 24, seed=2), floats(24, seed=3)
    past, bias = floats(2, 2, 2, 5, 4, seed=4), floats(2, 2, 3, 3, seed=5)
    attributes = {"num_heads": 2, "unidirectional": 1, "scale": 0.3}
    outputs = ["float", "float"]
    check_ort("Attention", [x, w, b, None, past], outputs, attributes, constant=(1, 2))
    check_ort("Attention", [x, w, b, None, None, bias], outputs[:1], attributes, constant=(1, 2))
    attributes = {"num_heads": 2, "qkv_hidden_sizes": [8, 8, 12]}
    inputs = [x, floats(6, 28, seed=2), floats(28, seed=3)]
    check_ort("Attention", inputs, ["float"], attributes, constant=(1, 2))


@pytest.mark.parametrize("form", ["plain", "bias", "cached"])
@pytest.mark.parametrize("causal", [0, 1])
def test_multi_head_attention(check_ort: Any, form: str, causal: int) -> None:
    query, key, value = floats(2, 4, 8), floats(2, 4, 8, seed=2), floats(2, 4, 8, seed=3)
    inputs: list[Any] = [query, key, value, None]
    if form == "bias":
        inputs[3] = floats(24, seed=4)
    elif form == "cached":
        inputs = [query, floats(2, 2, 4, 4, seed=2), floats(2, 2, 4, 4, seed=3)]
    check_ort("MultiHeadAttention", inputs, ["float"], {"num_heads": 2, "unidirectional": causal})


def test_multi_head_attention_packed(run_microsoft: Any) -> None:
    """onnxruntime's CPU kernel takes no packed inputs: these are compared with plain ones."""
    q, k, v = floats(2, 4, 8), floats(2, 4, 8, seed=2), floats(2, 4, 8, seed=3)
    (want,) = run_microsoft("MultiHeadAttention", [q, k, v], {"num_heads": 2})
    q, k, v = (x.reshape(2, 4, 2, 4) for x in (q, k, v))
    for inputs in ([np.stack((q, k, v), 3)], [q.reshape(2, 4, 8), np.stack((k, v), 3)]):
        (got,) = run_microsoft("MultiHeadAttention", inputs, {"num_heads": 2})
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("mask", [None, "1d", "2d", "3d"])
def test_multi_head_attention_cache_and_masks(check_ort: Any, mask: str | None) -> None:
    past = [floats(2, 2, 3, 4, seed=5), floats(2, 2, 3, 4, seed=6)]
    inputs = [floats(2, 2, 8), floats(2, 2, 8, seed=2), floats(2, 2, 8, seed=3), floats(24)]
    masks = {
        "2d": np.array([[1, 1, 1, 1, 0], [0, 1, 1, 1, 1]], np.int32),
        "3d": np.tril(np.ones((2, 2, 5), np.int32), 2),
    }
    bias = floats(1, 2, 2, 5, seed=7)
    outputs = ["float", "float", "float"]
    if mask == "1d":  # the lengths of keys that are not cached
        check_ort(
            "MultiHeadAttention",
            [*inputs[:3], None, np.array([1, 2], np.int32)],
            ["float"],
            {"num_heads": 2},
        )
        return
    check_ort(
        "MultiHeadAttention",
        [*inputs, masks.get(mask or ""), bias, *past],
        outputs,
        {"num_heads": 2, "scale": 0.4},
    )


@pytest.mark.parametrize("interleaved", [0, 1])
@pytest.mark.parametrize("form", ["3d", "4d", "offset", "partial"])
def test_rotary_embedding(check_ort: Any, form: str, interleaved: int) -> None:
    cos, sin = floats(10, 4, seed=2), floats(10, 4, seed=3)
    x, positions = floats(2, 3, 16), np.array([[0, 5, 2], [3, 4, 9]], np.int64)
    attributes: dict[str, Any] = {"interleaved": interleaved}
    if form == "4d":
        x = floats(2, 2, 3, 8)
    elif form == "offset":
        positions = np.array([4], np.int64)
    elif form == "partial":
        attributes |= {"num_heads": 1, "rotary_embedding_dim": 8}
    check_ort("RotaryEmbedding", [x, positions, cos, sin], ["float"], attributes)


def gqa(count: int, past: int, *, batch: int = 1, buffer: int = 0, packed: bool = False) -> Any:
    """Inputs 0 to 6: four query heads, two of keys, head size 16."""
    if packed:
        qkv: list[Any] = [floats(batch, count, 128), None, None]
    else:
        qkv = [
            floats(batch, count, 64),
            floats(batch, count, 32),
            floats(batch, count, 32, seed=3),
        ]
    cache = [floats(batch, 2, buffer or past, 16, seed=s) for s in (4, 5)]
    total = past + count
    return [*qkv, *cache, np.full(batch, total - 1, np.int32), scalar(total, np.int32)]


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"do_rotary": 1},
        {"do_rotary": 1, "rotary_interleaved": 1},
        {"softcap": 5.0},
        {"local_window_size": 3},
        {"softcap": 5.0, "local_window_size": 2, "scale": 0.2},
        {"smooth_softmax": 1},
    ],
    ids=lambda a: "-".join(a) or "plain",
)
@pytest.mark.parametrize("form", ["prompt", "packed", "decode", "chunk", "decode-batch"])
def test_group_query_attention(check_ort: Any, form: str, attributes: Any) -> None:
    inputs = {
        "prompt": lambda: gqa(5, 0),
        "packed": lambda: gqa(5, 0, packed=True),
        "decode": lambda: gqa(1, 6),
        "chunk": lambda: gqa(3, 4),
        "decode-batch": lambda: gqa(1, 6, batch=2),
    }[form]()
    if attributes.get("do_rotary"):
        inputs += [floats(12, 8, seed=8), floats(12, 8, seed=9)]
    given = {"num_heads": 4, "kv_num_heads": 2, **attributes}
    check_ort("GroupQueryAttention", inputs, ["float"] * 3, given)


def test_group_query_attention_bias_and_sink(check_ort: Any) -> None:
    inputs = [*gqa(1, 6), None, None, None, floats(1, 4, 1, 7, seed=8), floats(4, seed=9)]
    given = {"num_heads": 4, "kv_num_heads": 2, "softcap": 4.0}
    check_ort("GroupQueryAttention", inputs, ["float"] * 3, given)


def test_group_query_attention_ragged_shared_buffer(run_microsoft: Any) -> None:
    """A buffer longer than what is used, and sequences of unlike length, against the definition."""
    inputs = gqa(1, 5, batch=2, buffer=9)
    inputs[5] = np.array([5, 3], np.int32)
    given = {"num_heads": 4, "kv_num_heads": 2}
    y, key, value = run_microsoft("GroupQueryAttention", inputs, given)
    for b, last in enumerate((5, 3)):
        k, v = inputs[3][b].copy(), inputs[4][b].copy()
        k[:, last], v[:, last] = inputs[1][b].reshape(2, 16), inputs[2][b].reshape(2, 16)
        np.testing.assert_array_equal(key[b], k)
        np.testing.assert_array_equal(value[b], v)
        for head in range(4):
            q = inputs[0][b, 0, head * 16 : head * 16 + 16]
            weights = np.exp(k[head // 2, : last + 1] @ q / np.sqrt(16))
            want = weights / weights.sum() @ v[head // 2, : last + 1]
            np.testing.assert_allclose(
                y[b, 0, head * 16 : head * 16 + 16], want, rtol=1e-4, atol=1e-6
            )


def test_refusals_name_the_reason(run_microsoft: Any) -> None:
    with pytest.raises(Exception, match="sliding_window_cache"):
        run_microsoft(
            "GroupQueryAttention",
            gqa(1, 3),
            {"num_heads": 4, "kv_num_heads": 2, "sliding_window_cache": 1},
        )
    with pytest.raises(Exception, match="3 bits"):
        run_microsoft(
            "MatMulNBits",
            [floats(1, 16), whole(np.uint8, 2, 1, 6), floats(2, 1)],
            {"K": 16, "N": 2, "bits": 3, "block_size": 16},
        )
