"""Attention with all its inputs against ONNX's reference, and the operators that go with it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from hal.errors import ExecutionError, UnsupportedError
from hal.tensor import Tensor

Check = Callable[..., None]
DTYPES = {
    "float": np.float32,
    "double": np.float64,
    "float16": np.float16,
    "bfloat16": ml_dtypes.bfloat16,
}
NEAR: dict[str, dict[str, float]] = {
    "float": {"rtol": 1e-4, "atol": 1e-5},
    "double": {"rtol": 1e-4, "atol": 1e-5},  # the reference's softcap and scale are float32's
    "float16": {"rtol": 4e-3, "atol": 4e-3},
    "bfloat16": {"rtol": 4e-2, "atol": 4e-2},
}
ALL = ["Attention", "RotaryEmbedding", "LinearAttention", "CausalConvWithState"]


def normal(shape: tuple[int, ...], name: str, seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32).astype(DTYPES[name])


def test_official_cases(official_failures: Callable[..., list[str]]) -> None:
    assert not official_failures(ALL)


def masks(name: str, heads: int, rows: int, columns: int) -> dict[str, Any]:
    rng = np.random.default_rng(9)
    blind = np.ones((2, 1, rows, columns), bool)
    blind[0, 0, 0] = False
    return {
        "none": None,
        "bool": rng.integers(0, 2, (rows, columns)).astype(bool),
        "blind row": blind,
        "float": normal((2, heads, rows, columns), name, 8),
        "short": normal((rows, columns - 1), name, 8),
    }


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("kind", ["none", "bool", "blind row", "float", "short"])
@pytest.mark.parametrize("causal", [0, 1])
def test_masks_groups_caches_windows(check_node: Check, name: str, kind: str, causal: int) -> None:
    shapes = [(4, 3, 5, 0), (2, 3, 3, 2), (1, 1, 2, 4), (2, 1, 1, 4), (4, 1, 5, 0), (2, 5, 2, 0)]
    stages = [(0.0, (-1, -1), 0), (2.0, (-1, -1), 1), (0.0, (1, -1), 2), (1.5, (1, 0), 3)]
    for heads, rows, columns, past in shapes:
        q = normal((2, 4, rows, 8), name, 1)
        k, v = normal((2, heads, columns, 8), name, 2), normal((2, heads, columns, 6), name, 3)
        given = [q, k, v, masks(name, 4, rows, past + columns)[kind]]
        if past:
            given += [normal((2, heads, past, 8), name, 4), normal((2, heads, past, 6), name, 5)]
        for softcap, (left, right), mode in stages:
            attributes = {
                "is_causal": causal,
                "softcap": softcap,
                "left_window_size": left,
                "right_window_size": right,
                "qk_matmul_output_mode": mode,
            }
            for outputs in (1, 4):
                check_node("Attention", given, [name] * outputs, attributes, **NEAR[name])


@pytest.mark.parametrize("causal", [0, 1])
def test_packed_heads_and_padded_caches(check_node: Check, causal: int) -> None:
    packed = [normal((2, 3, 32), "float"), normal((2, 5, 16), "float"), normal((2, 5, 12), "float")]
    attributes = {"q_num_heads": 4, "kv_num_heads": 2, "is_causal": causal, "scale": 0.3}
    for opset in (23, 24, 25):
        check_node("Attention", packed, ["float"], attributes, opset=opset, **NEAR["float"])
    q, k, v = (normal((2, h, s, 8), "float", h) for h, s in ((4, 3), (2, 5), (2, 5)))
    for lengths, mask, left in itertools.product(
        ([5, 5], [1, 3], [2, 4]), (None, np.ones((2, 1, 3, 4), bool)), (-1, 1)
    ):
        given = [q, k, v, mask, None, None, np.array(lengths)]
        attributes = {"is_causal": causal, "left_window_size": left}
        check_node("Attention", given, ["float"], attributes, **NEAR["float"])


def test_a_mask_of_one_row_is_for_all_rows(check_node: Check) -> None:
    # ONNX's reference takes such a mask's row for the only one and loses causality; what it says
    # of the same mask written out is what is right.
    q, k, v = (normal((1, 2, 3, 4), "float", i) for i in range(3))
    mask = normal((2, 1, 3), "float", 4)
    wide = np.ascontiguousarray(np.broadcast_to(mask, (2, 3, 3)))
    scores = q @ k.transpose(0, 1, 3, 2) / 2 + wide
    scores = np.where(np.tril(np.ones((3, 3), bool)), scores, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    want = (weights / weights.sum(-1, keepdims=True)) @ v
    for given in (mask, wide):
        attributes = {"is_causal": 1}
        check_node(
            "Attention", [q, k, v, given], ["float"], attributes, expected=[want], **NEAR["float"]
        )


def test_the_first_stage_is_before_the_softcap(run_node: Callable[..., list[Tensor]]) -> None:
    q = normal((1, 1, 2, 4), "float")
    got = run_node("Attention", [q, q, q], ["float"] * 4, {"softcap": 0.5})
    want = q @ q.transpose(0, 1, 3, 2) / 2
    assert np.allclose(got[3].numpy(), want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["float", "float16", "bfloat16"])
@pytest.mark.parametrize("precision", [1, 10, 11, 16])
def test_softmax_precision(check_node: Check, name: str, precision: int) -> None:
    q, k, v = (normal((2, h, s, 8), name, h) for h, s in ((4, 3), (2, 5), (2, 5)))
    near = {"rtol": 4e-2, "atol": 4e-2}
    check_node("Attention", [q, k, v], [name], {"softmax_precision": precision}, **near)


def test_nothing_to_attend(run_node: Callable[..., list[Tensor]]) -> None:
    q, none = normal((1, 2, 3, 4), "float"), np.zeros((1, 2, 0, 4), np.float32)
    (got,) = run_node("Attention", [q, none, none], ["float"])
    assert got.shape == (1, 2, 3, 4) and not got.numpy().any()


def test_wrong_attention(run_node: Callable[..., list[Tensor]]) -> None:
    q, k = normal((1, 3, 2, 4), "float"), normal((1, 2, 2, 4), "float")
    with pytest.raises(ExecutionError, match="3 query heads for 2"):
        run_node("Attention", [q, k, k], ["float"])
    with pytest.raises(UnsupportedError, match="no float type"):
        run_node("Attention", [q, q, q], ["float"], {"softmax_precision": 7})


@pytest.mark.parametrize("name", ["float", "float16", "bfloat16"])
@pytest.mark.parametrize("size", [0, 4])
@pytest.mark.parametrize("interleaved", [0, 1])
def test_rotary_embedding(check_node: Check, name: str, size: int, interleaved: int) -> None:
    half = (size or 8) // 2
    attributes = {"interleaved": interleaved, "rotary_embedding_dim": size}
    own = [normal((2, 5, half), name, 1), normal((2, 5, half), name, 2)]
    shared = [normal((9, half), name, 1), normal((9, half), name, 2)]
    positions = np.random.default_rng(3).integers(0, 9, (2, 5))
    x = normal((2, 3, 5, 8), name)
    check_node("RotaryEmbedding", [x, *own], [name], attributes, **NEAR[name])
    check_node("RotaryEmbedding", [x, *shared, positions], [name], attributes, **NEAR[name])
    packed = {**attributes, "num_heads": 3}
    check_node("RotaryEmbedding", [normal((2, 5, 24), name), *own], [name], packed, **NEAR[name])


@pytest.mark.parametrize("name", ["float", "float16", "bfloat16"])
@pytest.mark.parametrize("rule", ["linear", "gated", "delta", "gated_delta"])
def test_linear_attention(check_node: Check, name: str, rule: str) -> None:
    attributes = {"q_num_heads": 4, "kv_num_heads": 2, "update_rule": rule}
    for steps, width, rates in itertools.product((0, 1, 5), (1, 4), (1, 2)):
        given = [normal((2, steps, n), name, n) for n in (16, 8, 6)]
        decay = -np.abs(normal((2, steps, 2 * width), name, 4)) if "gated" in rule else None
        beta = np.abs(normal((2, steps, rates), name, 5)) if "delta" in rule else None
        for state in (None, name, "float"):
            past = None if state is None else normal((2, 2, 4, 3), state, 6)
            check_node(
                "LinearAttention",
                [*given, past, decay, beta],
                [name, state or name],
                attributes,
                opset=27,
                **NEAR[name],
            )


@pytest.mark.parametrize("name", ["float", "float16", "bfloat16"])
@pytest.mark.parametrize("activation", ["none", "silu"])
def test_causal_conv(check_node: Check, name: str, activation: str) -> None:
    for length, width, biased, past in itertools.product((1, 6), (1, 4), (0, 1), (0, 1)):
        given = [
            normal((2, 3, length), name),
            normal((3, 1, width), name, 1),
            normal((3,), name, 2) if biased else None,
            normal((2, 3, width - 1), name, 3) if past else None,
        ]
        attributes = {"activation": activation}
        check_node("CausalConvWithState", given, [name] * 2, attributes, opset=27, **NEAR[name])
