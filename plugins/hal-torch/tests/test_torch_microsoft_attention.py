"""Attention of com.microsoft against onnxruntime."""

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


def test_attention_of_half_precision(run_microsoft: Any) -> None:
    """It stays near the same computation in float."""
    given = {"num_heads": 4, "kv_num_heads": 2, "softcap": 5.0}
    inputs = gqa(3, 4)
    wide = run_microsoft("GroupQueryAttention", inputs, given)
    half = [x.astype(np.float16) if x.dtype == F32 else x for x in inputs]
    for want, got in zip(wide, run_microsoft("GroupQueryAttention", half, given), strict=True):
        assert got.dtype == np.float16
        np.testing.assert_allclose(got.astype(F32), want, atol=5e-3)


def test_group_query_attention_refuses_by_name(run_microsoft: Any) -> None:
    with pytest.raises(Exception, match="sliding_window_cache"):
        run_microsoft(
            "GroupQueryAttention",
            gqa(1, 3),
            {"num_heads": 4, "kv_num_heads": 2, "sliding_window_cache": 1},
        )
