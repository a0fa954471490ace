"""Operators of com.microsoft that are computed over dequantized weights, against onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

F32 = np.float32


def floats(*shape: int, seed: int = 1) -> Any:
    return np.random.default_rng(seed).normal(size=shape).astype(F32)


def whole(dtype: Any, *shape: int, seed: int = 1) -> Any:
    limits = np.iinfo(dtype)
    return np.random.default_rng(seed).integers(limits.min, limits.max + 1, shape).astype(dtype)


@pytest.mark.parametrize("channels", [False, True], ids=["tensor", "channel"])
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("constant", [False, True], ids=["fed", "constant"])
def test_dynamic_quantize_lstm(
    check_ort: Any, run_microsoft: Any, dtype: str, direction: str, channels: bool, constant: bool
) -> None:
    """onnxruntime quantizes activations too: within a hundredth of it, and exactly its LSTM over
    the dequantized weights."""
    both = 2 if direction == "bidirectional" else 1
    hidden, width, steps, batch = 6, 5, 4, 3
    spread = [both, 4 * hidden] if channels else [both]
    w, r = whole(dtype, both, width, 4 * hidden), whole(dtype, both, hidden, 4 * hidden, seed=2)
    ws = np.linspace(0.001, 0.004, int(np.prod(spread)), dtype=F32).reshape(spread)
    zero = np.full(spread, 3 if dtype == "uint8" else 0, dtype)
    state = [floats(both, batch, hidden, seed=s) * F32(0.1) for s in (3, 4)]
    lengths = np.array([4, 2, 3], np.int32) if constant else None
    inputs = [
        *(floats(steps, batch, width), w, r, floats(both, 8 * hidden, seed=5), lengths),
        *(*state, floats(both, 3 * hidden, seed=6) * F32(0.1)),
        *(ws, zero, ws, zero),
    ]
    attributes = {"direction": direction, "hidden_size": hidden}
    known = (1, 2, 8, 9, 10, 11)  # onnxruntime takes no other
    got = check_ort(
        "DynamicQuantizeLSTM", inputs, ["float"] * 3, attributes, constant=known, rtol=0, atol=0.03
    )

    def real(x: Any) -> Any:
        shape = (both, 1, -1)
        wide = x.astype(F32) - zero.astype(F32).reshape(shape)
        return np.swapaxes(wide * ws.reshape(shape), 1, 2)

    plain = [inputs[0], real(w), real(r), *inputs[3:8]]
    wanted = check_ort("LSTM", plain, ["float"] * 3, attributes, domain="")
    for have, want in zip(got, wanted, strict=True):
        np.testing.assert_allclose(have.numpy(), want.numpy(), atol=1e-6)
    if not constant:
        found = run_microsoft("DynamicQuantizeLSTM", inputs, attributes)
        np.testing.assert_allclose(found[0], wanted[0].numpy(), atol=1e-6)


@pytest.mark.parametrize("channels", [False, True], ids=["tensor", "channel"])
@pytest.mark.parametrize("w_type", ["int8", "uint8"])
@pytest.mark.parametrize("extra", ["none", "mask", "past", "causal"])
def test_quantized_attention(check_ort: Any, w_type: str, extra: str, channels: bool) -> None:
    batch, length, hidden, heads = 2, 5, 8, 2
    scale = np.linspace(0.002, 0.01, 3 * hidden, dtype=F32) if channels else np.array([0.01], F32)
    zero = np.zeros(scale.shape, w_type) + np.array(2 if w_type == "uint8" else 0, w_type)
    inputs = [
        whole(np.uint8, batch, length, hidden),
        whole(w_type, hidden, 3 * hidden, seed=2),
        floats(3 * hidden),
        *(np.array([0.02], F32), scale),
        np.array([3, 5], np.int32) if extra == "mask" else None,
        *(np.array([7], np.uint8), zero),
        floats(2, batch, heads, 3, hidden // heads, seed=3) if extra == "past" else None,
    ]
    attributes = {"num_heads": heads, "unidirectional": int(extra == "causal")}
    outputs = ["float", "float"] if extra == "past" else ["float"]
    for known in ((), (1, 4, 7)):
        check_ort("QAttention", inputs, outputs, attributes, constant=known, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("segments", [False, True])
@pytest.mark.parametrize("mask", [False, True])
def test_quantized_embed_layer_normalization(check_ort: Any, mask: bool, segments: bool) -> None:
    ids = np.array([[1, 4, 2, 0], [3, 3, 1, 0]], np.int32)
    scales = [np.array(0.01 * (i + 1), F32) for i in range(5)]
    zeros = [np.array(i + 3, np.uint8) for i in range(5)]
    inputs = [
        ids,
        ids % 2 if segments else None,
        whole(np.uint8, 6, 8),
        whole(np.uint8, 5, 8, seed=2),
        whole(np.uint8, 2, 8, seed=3) if segments else None,
        whole(np.uint8, 8, seed=4),
        whole(np.uint8, 8, seed=5),
        (ids > 0).astype(np.int32) if mask else None,
        *scales,
        *zeros,
    ]
    if not segments:
        inputs[10] = inputs[15] = None
    check_ort("QEmbedLayerNormalization", inputs, ["float", "int32"], {"epsilon": 1e-9})


@pytest.mark.parametrize("kind", [0, 1], ids=["fp4", "nf4"])
@pytest.mark.parametrize("constant", [False, True], ids=["fed", "constant"])
def test_matmul_bnb4(check_ort: Any, run_microsoft: Any, kind: int, constant: bool) -> None:
    rows, columns, size = 6, 32, 16
    packed = whole(np.uint8, rows * columns // 2)
    most = np.abs(floats(rows * columns // size)) + F32(0.1)
    attributes = {"K": columns, "N": rows, "block_size": size, "quant_type": kind}
    known = (1, 2) * constant
    inputs = [floats(2, 3, columns), packed, most]
    check_ort("MatMulBnb4", inputs, ["float"], attributes, constant=known)
    (weight,) = check_ort(
        "MatMulBnb4", [np.eye(columns, dtype=F32), *inputs[1:]], ["float"], attributes
    )
    # onnxruntime 1.31.1 leaves its output unwritten for transB=0: compared with the definition.
    a = floats(2, 3, rows)
    (got,) = run_microsoft("MatMulBnb4", [a, *inputs[1:]], {**attributes, "transB": 0})
    np.testing.assert_allclose(got, a @ weight.numpy().T, rtol=1e-5, atol=1e-6)


def test_matmul_bnb4_of_another_type(run_microsoft: Any) -> None:
    attributes = {"K": 32, "N": 1, "block_size": 16, "quant_type": 2}
    with pytest.raises(Exception, match="quant_type is 0"):
        run_microsoft("MatMulBnb4", [floats(1, 32), whole(np.uint8, 16), floats(2)], attributes)
