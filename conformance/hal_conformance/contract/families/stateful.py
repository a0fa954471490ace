"""Operators that carry a state from call to call: linear attention and causal convolution."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from hal_conformance.contract.draft import Ask, Draft, generates
from hal_conformance.contract.numbers import Array, widen
from hal_conformance.contract.tolerance import accumulated, composed


@generates("CausalConvWithState")
def causal_convolution(ask: Ask) -> Iterator[Draft]:
    """From nothing and from a state, with a bias and without, each activation, one element long."""
    rows: list[tuple[str, int, bool, bool, str | None]] = [
        ("plain", 5, False, False, None),
        ("bias", 5, True, False, None),
        ("state", 5, False, True, "none"),
        ("silu", 4, True, True, "silu"),
        ("swish", 4, False, True, "swish"),
        ("one", 1, True, True, None),
    ]
    for slug, length, biased, carried, activation in rows:
        draw = ask.draw(slug)
        x, w = draw.tensor(ask.element, (2, 3, length)), draw.tensor(ask.element, (3, 1, 4))
        bias = draw.tensor(ask.element, (3,)) if biased else None
        past = draw.tensor(ask.element, (2, 3, 3)) if carried else None
        before = widen(past) if past is not None else np.zeros((2, 3, 3))
        whole = np.concatenate([before, widen(x)], axis=2)
        weights = widen(w)[:, 0]
        y = np.stack([(whole[..., i : i + 4] * weights).sum(-1) for i in range(length)], axis=-1)
        if bias is not None:
            y = y + widen(bias)[:, None]
        if activation in ("silu", "swish"):
            y = y / (1 + np.exp(-y))
        inputs: list[Any] = [x, w, bias, past]
        while inputs[-1] is None:
            inputs.pop()
        yield ask.draft(
            slug,
            inputs,
            [y, whole[..., -3:]],
            outputs=(ask.type, ask.type),
            attributes={} if activation is None else {"activation": activation},
            tolerance=composed(ask.element, magnitude=32.0)
            if activation in ("silu", "swish")
            else accumulated(ask.element, terms=5, magnitude=68.0, steps=2.0, rounded=2.0),
        )


@generates("LinearAttention")
def linear_attention(ask: Ask) -> Iterator[Draft]:
    """Each rule, from nothing and from a state; heads that share keys; decay a head and a key; a
    scale that is none and one below zero."""
    if ask.constraint != "T":
        return
    rows: list[tuple[str, str | None, int, dict[str, Any], bool, bool]] = [
        ("default", None, 2, {}, True, True),
        ("linear", "linear", 2, {}, True, False),
        ("gated", "gated", 2, {}, False, False),
        ("delta", "delta", 2, {}, True, False),
        ("gated-delta", "gated_delta", 2, {"scale": 0.25}, True, True),
        ("shared", "linear", 1, {"scale": -1.5}, True, False),
        ("gated-head", "gated", 2, {}, True, True),
        ("chunks", "linear", 2, {"chunk_size": 2, "scale": 1.25}, False, False),
    ]
    for slug, rule, heads, extra, carried, by_head in rows:
        draw = ask.draw(slug)
        t, d_k, d_v, q_heads = 3, 4, 3, 2
        n = 1 if slug == "linear" else 2
        query = draw.tensor(ask.element, (n, t, q_heads * d_k), -1, 1)
        key = draw.tensor(ask.element, (n, t, heads * d_k), -1, 1)
        value = draw.tensor(ask.element, (n, t, heads * d_v), -2, 2)
        past = draw.tensor(ask.element, (n, heads, d_k, d_v), -1, 1) if carried else None
        chosen = rule or "gated_delta"
        decay = beta = None
        if "gated" in chosen:
            decay = draw.tensor(ask.element, (n, t, heads * (1 if by_head else d_k)), -2, 0)
        if "delta" in chosen:
            beta = draw.tensor(ask.element, (n, t, 1 if by_head else heads), 0, 1)
        scale = extra.get("scale") or 1 / np.sqrt(d_k)
        start = widen(past) if past is not None else np.zeros((n, heads, d_k, d_v))
        parts = [None if v is None else widen(v) for v in (query, key, value, decay, beta)]
        expected = _attended(parts, start.copy(), q_heads, float(scale))
        inputs: list[Any] = [query, key, value, past, decay, beta]
        while inputs[-1] is None:
            inputs.pop()
        yield ask.draft(
            slug,
            inputs,
            expected,
            outputs=(ask.type, ask.type),
            attributes={
                "q_num_heads": q_heads,
                "kv_num_heads": heads,
                **({} if rule is None else {"update_rule": rule}),
                **extra,
            },
            tolerance=accumulated(ask.element, terms=16, magnitude=64.0, steps=8.0, rounded=32.0),
        )


def _attended(parts: list[Any], state: Array, q_heads: int, scale: float) -> list[Array]:
    """The update one token after the other, as the standard writes it."""
    query, key, value, decay, beta = parts
    batch, steps = query.shape[:2]
    heads, d_k, d_v = state.shape[1:]
    q = query.reshape(batch, steps, q_heads, d_k)
    k, v = key.reshape(batch, steps, heads, d_k), value.reshape(batch, steps, heads, d_v)
    results = np.zeros((batch, steps, q_heads, d_v))
    for t in range(steps):
        if decay is not None:
            state = state * np.exp(decay[:, t].reshape(batch, heads, -1, 1))
        fresh = v[:, t]
        if beta is not None:
            known = np.einsum("bhkv,bhk->bhv", state, k[:, t])
            fresh = beta[:, t].reshape(batch, -1, 1) * (fresh - known)
        state = state + k[:, t][..., None] * fresh[..., None, :]
        shared = np.repeat(state, q_heads // heads, axis=1)
        results[:, t] = scale * np.einsum("bhkv,bhk->bhv", shared, q[:, t])
    return [results.reshape(batch, steps, -1), state]
