"""Attention with its masks, windows and caches, and rotary embedding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from hal import ElementType, Tensor
from hal_conformance.contract.draft import Ask, Draft, generates
from hal_conformance.contract.microsoft.attention import attended, heads_of, joined, rotated
from hal_conformance.contract.numbers import Array, narrow, widen
from hal_conformance.contract.tolerance import Tolerance, accumulated

_HEADS, _GROUPS, _SIZE = 4, 2, 4

_ROWS: Mapping[str, tuple[int, int, int, Mapping[str, Any]]] = {
    # queries, keys, past keys, attributes
    "self": (5, 5, 0, {}),
    "cross": (3, 6, 0, {}),
    "scale": (3, 4, 0, {"scale": 0.25}),
    "softcap": (3, 4, 0, {"softcap": 1.5}),
    "causal": (5, 5, 0, {"is_causal": 1}),
    "causal-cross": (3, 5, 0, {"is_causal": 1}),
    "past": (2, 2, 3, {}),
    "past-causal": (3, 3, 2, {"is_causal": 1}),
    "mask-rows": (3, 4, 0, {}),
    "mask-heads": (3, 4, 0, {}),
    "mask-hidden-row": (3, 4, 0, {}),
    "mask-causal": (4, 4, 0, {"is_causal": 1}),
    "window-left": (6, 6, 0, {"left_window_size": 2}),
    "window-right": (6, 6, 0, {"right_window_size": 1}),
    "window-both": (5, 7, 0, {"left_window_size": 2, "right_window_size": 1}),
    "window-zero": (5, 5, 0, {"left_window_size": 0, "right_window_size": 0}),
    "window-causal": (6, 6, 0, {"left_window_size": 2, "is_causal": 1}),
    "window-past": (2, 2, 5, {"left_window_size": 3, "is_causal": 1}),
    "long": (2, 200, 0, {}),
}
_FEWER = ("mask-rows", "self", "causal", "past", "window-both", "softcap")


def _seen(length: int, total: int, past: int, settings: Mapping[str, Any]) -> Array:
    """Which keys each query sees by its absolute position: causal, and between the windows."""
    at, keys = np.arange(length)[:, None] + past, np.arange(total)
    seen = np.ones((length, total), bool)
    if settings.get("is_causal"):
        seen &= keys <= at
    if settings.get("left_window_size", -1) >= 0:
        seen &= keys >= at - settings["left_window_size"]
    if settings.get("right_window_size", -1) >= 0:
        seen &= keys <= at + settings["right_window_size"]
    return seen


def _near(element: ElementType, total: int) -> Tolerance:
    terms = _SIZE + total + 16
    return accumulated(element, terms=terms, magnitude=16.0, steps=8, rounded=8.0)


@generates("Attention")
def attention(ask: Ask) -> Iterator[Draft]:
    """Each row with heads as an axis, grouped, and merged in the last axis; masks of booleans and
    real numbers, of two ranks, one with a row that sees nothing."""
    if not ask.first and ask.constraint != "U":
        return
    if ask.constraint == "U" and ask.element is not ElementType.BOOL:
        return  # real masks come with their type; the standard says nothing of integers
    element = ElementType.FLOAT if ask.constraint == "U" else ask.element
    type_ = f"tensor({element.onnx_name})"
    for what, (length, keys, past, settings) in _ROWS.items():
        masked = what.startswith("mask")
        if masked != (ask.constraint == "U") and not (masked and ask.constraint == "T1"):
            continue
        if not ask.full and ask.constraint == "T1" and what not in _FEWER:
            continue
        real = ask.constraint == "T1" and masked
        if real and what == "mask-hidden-row":
            continue
        for merged in (False, True):
            slug = f"{what}-merged" if merged else what
            draw = ask.draw(slug)
            groups = _GROUPS if merged or what == "self" else _HEADS
            shapes = [(_HEADS, length), (groups, keys), (groups, keys)]
            tensors = [draw.tensor(element, (2, n, s, _SIZE), -2, 2) for n, s in shapes]
            q, k, v = (widen(t) for t in tensors)
            attributes = dict(settings)
            if merged:
                tensors = [narrow(joined(widen(t)), element) for t in tensors]
                q, k, v = (
                    heads_of(widen(t), n)
                    for t, n in zip(tensors, (_HEADS, groups, groups), strict=True)
                )
                attributes.update(q_num_heads=_HEADS, kv_num_heads=groups)
            inputs: list[Tensor | None] = [*tensors, None, None, None]
            total = keys + past
            allowed: Array = _seen(length, total, past, settings)
            bias: Array | float = 0.0
            if masked:
                shape = (2, _HEADS, length, total) if what == "mask-heads" else (length, total)
                if real:
                    inputs[3] = added = draw.tensor(element, shape, -2, 2)
                    bias = widen(added)
                else:
                    chosen: Array = np.asarray(draw.integers(shape, 0, 2) > 0)
                    chosen[..., 0] = True
                    if what == "mask-hidden-row":
                        chosen[1] = False
                    inputs[3] = narrow(chosen, ElementType.BOOL)
                    allowed = allowed & chosen
            outputs, expected = [type_], []
            if past:
                old = [draw.tensor(element, (2, groups, past, _SIZE), -2, 2) for _ in range(2)]
                inputs[4:] = old
                k = np.concatenate([widen(old[0]), k], axis=2)
                v = np.concatenate([widen(old[1]), v], axis=2)
                outputs, expected = [type_] * 3, [k, v]
            hidden = np.asarray(~np.broadcast_to(allowed, (2, _HEADS, length, total)).any(axis=-1))
            shown = allowed | hidden[..., None] if hidden.any() else allowed
            result = attended(
                q, k, v, scale=settings.get("scale"), bias=bias, allowed=shown,
                softcap=settings.get("softcap", 0.0),
            )  # fmt: skip
            result = np.where(hidden[..., None], 0.0, result)
            while inputs[-1] is None:
                inputs.pop()
            yield ask.draft(
                slug,
                inputs,
                [joined(result) if merged else result, *expected],
                outputs=outputs,
                attributes=attributes,
                tolerance=_near(element, total),
            )


@generates("Attention")
def padded_cache(ask: Ask) -> Iterator[Draft]:
    """A cache kept outside, of which each sample has filled another part."""
    if not (ask.first and ask.full):
        return
    for slug, causal in (("nonpad", 0), ("nonpad-causal", 1)):
        draw = ask.draw(slug)
        q = draw.tensor(ask.element, (2, 2, 2, _SIZE), -2, 2)
        k, v = (draw.tensor(ask.element, (2, 2, 6, _SIZE), -2, 2) for _ in range(2))
        filled = np.array([6, 3])
        keys = np.arange(6)
        allowed = np.broadcast_to(keys < filled[:, None, None], (2, 2, 6))
        if causal:
            at = np.arange(2)[:, None] + (filled - 2)[:, None, None]
            allowed = allowed & (keys <= at)
        result = attended(widen(q), widen(k), widen(v), allowed=allowed[:, None])
        yield ask.draft(
            slug,
            [q, k, v, None, None, None, narrow(filled, ElementType.INT64)],
            [result],
            attributes={"is_causal": causal},
            tolerance=_near(ask.element, 6),
        )


@generates("RotaryEmbedding")
def rotary(ask: Ask) -> Iterator[Draft]:
    """Halves and interleaved, of three dimensions and four, part of the head, and a cache that was
    gathered before."""
    if ask.constraint != "T":
        return
    for slug, interleaved, merged, partial, gathered in (
        ("halves", 0, False, 0, False),
        ("interleaved", 1, False, 0, False),
        ("merged", 0, True, 0, False),
        ("merged-interleaved", 1, True, 0, False),
        ("partial", 0, False, 4, False),
        ("partial-interleaved", 1, True, 4, False),
        ("gathered", 0, False, 0, True),
    ):
        heads, size, length = 2, 8, 3
        draw = ask.draw(slug)
        half = (partial or size) // 2
        angles = draw.floats((10, half), -3, 3)
        places = draw.integers((2, length), 0, 9)
        given = angles[places] if gathered else angles
        cos, sin = narrow(np.cos(given), ask.element), narrow(np.sin(given), ask.element)
        shape = (2, length, heads * size) if merged else (2, heads, length, size)
        x = draw.tensor(ask.element, shape, -2, 2)
        split = heads_of(widen(x), heads) if merged else widen(x)
        flat = [widen(t).reshape(-1, half) for t in (cos, sin)]
        rows = np.arange(2 * length).reshape(2, length) if gathered else places
        moved = rotated(split, flat[0], flat[1], rows, interleaved)
        attributes = {"interleaved": interleaved}
        if merged:
            attributes["num_heads"] = heads
        if partial:
            attributes["rotary_embedding_dim"] = partial
        inputs = [x, cos, sin]
        yield ask.draft(
            slug,
            inputs if gathered else [*inputs, narrow(places, ElementType.INT64)],
            [joined(moved) if merged else moved],
            attributes=attributes,
            tolerance=accumulated(ask.element, terms=3, magnitude=4.0, steps=2, rounded=4.0),
        )
