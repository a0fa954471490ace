"""Attention as transformers export it: merged, multi-head, grouped, with caches and rotation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from hal import ElementType, Tensor
from hal_conformance.contract.draft import Ask, Draft, generates
from hal_conformance.contract.numbers import Array, narrow, widen
from hal_conformance.contract.tolerance import Tolerance, accumulated

__all__ = ["attended", "heads_of", "joined", "rotated"]

_MS = "com.microsoft::"


def heads_of(x: Array, count: int) -> Array:
    """(batch, sequence, hidden) as (batch, heads, sequence, head)."""
    batch, length, hidden = x.shape
    return np.asarray(x.reshape(batch, length, count, hidden // count).transpose(0, 2, 1, 3))


def joined(x: Array) -> Array:
    """(batch, heads, sequence, head) as (batch, sequence, hidden)."""
    batch, heads, length, size = x.shape
    return np.asarray(x.transpose(0, 2, 1, 3).reshape(batch, length, heads * size))


def attended(
    q: Array,
    k: Array,
    v: Array,
    *,
    scale: float | None = None,
    bias: Array | float = 0.0,
    allowed: Array | bool = True,
    softcap: float = 0.0,
    sink: Array | None = None,
) -> Array:
    """softmax(cap(q k' scale) + bias) v over heads; `sink` adds a term to each denominator."""
    repeat = q.shape[1] // k.shape[1]
    k, v = k.repeat(repeat, axis=1), v.repeat(repeat, axis=1)
    logits = q @ k.swapaxes(-1, -2) * (scale if scale is not None else q.shape[-1] ** -0.5)
    if softcap:
        logits = softcap * np.tanh(logits / softcap)
    logits = np.where(allowed, logits + bias, -np.inf)
    top = logits.max(axis=-1, keepdims=True)
    e = np.exp(logits - top)
    total = e.sum(axis=-1, keepdims=True)
    if sink is not None:
        total = total + np.exp(sink.reshape(1, -1, 1, 1) - top)
    return np.asarray(e / total @ v)


def _wide(given: Tensor | None) -> Array:
    if given is None:
        raise ValueError("an input that was left out")
    return widen(given)


def _causal(length: int, total: int, window: int = 0) -> Array:
    """Which of `total` keys each of the last `length` positions sees."""
    rows = np.arange(total - length, total)[:, None]
    columns = np.arange(total)
    seen = columns <= rows
    return np.asarray(seen & (columns > rows - window) if window else seen)


def _near(element: ElementType, size: int, total: int) -> Tolerance:
    """Two sums in a row, of `size` and `total` terms of up to 4, and an exponential between."""
    return accumulated(element, terms=size + total + 16, magnitude=4.0 * size, steps=8, rounded=8.0)


def _bits(values: Array) -> str:
    return ", ".join(str(int(v)) for v in values.ravel())


def _mask_text(name: str, allowed: Array) -> str:
    """A constant mask of booleans."""
    shape = ", ".join(map(str, allowed.shape))
    return (
        f"{name}i = Constant <value_ints = [{_bits(allowed)}]> ()"
        f" {name}s = Constant <value_ints = [{shape}]> ()"
        f" {name}r = Reshape({name}i, {name}s) {name} = Cast <to = 9> ({name}r)"
    )


@generates(_MS + "MultiHeadAttention")
def multi_head(ask: Ask) -> Iterator[Draft]:
    """Self and cross attention, biases of the projection, masks, causal, caches, a scale."""
    if not ask.first:
        return
    heads, size = 2, 4
    for slug, length, keys, settings in (
        ("self", 5, 5, {}),
        ("cross", 3, 6, {}),
        ("bias", 4, 4, {}),
        ("padding", 4, 4, {}),
        ("attention-bias", 3, 5, {}),
        ("causal", 5, 5, {"unidirectional": 1}),
        ("scale", 3, 3, {"scale": 0.25}),
        ("past", 2, 2, {}),
        ("long", 3, 130, {}),
    ):
        draw = ask.draw(slug)
        q = draw.tensor(ask.element, (2, length, heads * size), -2, 2)
        k = draw.tensor(ask.element, (2, keys, heads * size), -2, 2)
        v = draw.tensor(ask.element, (2, keys, heads * size), -2, 2)
        inputs: list[Tensor | None] = [q, k, v, None, None, None, None, None]
        a, b, c = widen(q), widen(k), widen(v)
        text = "q = Identity(x0) k = Identity(x1) v = Identity(x2)"
        allowed: Array | bool = True
        bias: Array | float = 0.0
        mask = past = ""
        if slug == "bias":
            inputs[3] = draw.tensor(ask.element, (3 * heads * size,), -1, 1)
            parts = np.split(_wide(inputs[3]), 3)
            a, b, c = a + parts[0], b + parts[1], c + parts[2]
            text = "i, j, l = Split <axis = 0, num_outputs = 3> (x3)"
            text += " q = Add(x0, i) k = Add(x1, j) v = Add(x2, l)"
        if slug == "padding":
            kept = np.arange(keys) < np.array([[keys], [keys - 2]])
            inputs[4] = narrow(kept.astype(np.int64), ElementType.INT32)
            allowed, mask = kept[:, None, None, :], "m"
            text += " o = Constant <value_ints = [1, 2]> () n = Unsqueeze(x4, o)"
            text += f" e = Constant <value_ints = [1, 1, {length}, 1]> () h = Expand(n, e)"
            text += " m = Cast <to = 9> (h)"
        if slug == "attention-bias":
            inputs[5] = draw.tensor(ask.element, (1, heads, length, keys), -2, 2)
            bias, mask = _wide(inputs[5]), "x5"
        if slug == "causal":
            allowed, mask = _causal(length, keys), "m"
            text += " " + _mask_text("m", allowed)
        hq, hk, hv = heads_of(a, heads), heads_of(b, heads), heads_of(c, heads)
        outputs = [ask.type]
        if slug == "past":
            old = [draw.tensor(ask.element, (2, heads, 3, size), -2, 2) for _ in range(2)]
            inputs[6], inputs[7] = old
            hk = np.concatenate([widen(old[0]), hk], axis=2)
            hv = np.concatenate([widen(old[1]), hv], axis=2)
            outputs, past = [ask.type] * 3, ", x6, x7"
        result = attended(hq, hk, hv, scale=settings.get("scale"), bias=bias, allowed=allowed)
        text += " y0, y1, y2 = " if past else " y0 = "
        scale = f", scale = {settings['scale']}" if "scale" in settings else ""
        given = f"q, k, v, {mask}{past}" if past else f"q, k, v{', ' + mask if mask else ''}"
        text += f"Attention <q_num_heads = {heads}, kv_num_heads = {heads}{scale}> ({given})"
        while inputs[-1] is None:
            inputs.pop()
        yield ask.draft(
            slug,
            inputs,
            [joined(result), hk, hv] if past else [joined(result)],
            outputs=outputs,
            attributes={"num_heads": heads, **settings},
            composition=text,
            tolerance=_near(ask.element, size, hk.shape[2]),
        )


@generates(_MS + "Attention")
def merged(ask: Ask) -> Iterator[Draft]:
    """Weights of the three projections in one; masks of three forms; causal; a past."""
    if not ask.first:
        return
    heads, size, hidden, length = 2, 4, 6, 4
    wide = heads * size
    for slug in ("plain", "mask-lengths", "mask-raw", "mask-3d", "causal", "past", "bias", "scale"):
        draw = ask.draw(slug)
        x = draw.tensor(ask.element, (2, length, hidden), -1, 1)
        w = draw.tensor(ask.element, (hidden, 3 * wide), -1, 1)
        offset = draw.tensor(ask.element, (3 * wide,), -1, 1)
        inputs: list[Tensor | None] = [x, w, offset, None, None, None]
        parts = np.split(widen(x) @ widen(w) + widen(offset), 3, axis=-1)
        q, k, v = (heads_of(p, heads) for p in parts)
        text = "p = MatMul(x0, x1) s = Add(p, x2) q, k, v = Split <axis = -1, num_outputs = 3> (s)"
        settings: dict[str, Any] = {"num_heads": heads}
        allowed: Array | bool = True
        bias: Array | float = 0.0
        mask = past = scale = ""
        total = length
        if slug.startswith("mask"):
            kept = np.arange(length) < np.array([[length], [2]])
            seen = np.broadcast_to(kept[:, None, :], (2, length, length))
            if slug == "mask-3d":
                seen = draw.integers((2, length, length), 0, 1) + np.eye(length, dtype=np.int64) > 0
            given = {"mask-lengths": np.array([length, 2]), "mask-raw": kept, "mask-3d": seen}[slug]
            inputs[3] = narrow(np.asarray(given, np.int64), ElementType.INT32)
            allowed, mask = seen[:, None], "m"
        if slug in ("causal", "past"):
            settings["unidirectional"] = 1
        if slug == "past":
            old = draw.tensor(ask.element, (2, 2, heads, 3, size), -2, 2)
            inputs[4], total = old, length + 3
            k = np.concatenate([widen(old)[0], k], axis=2)
            v = np.concatenate([widen(old)[1], v], axis=2)
            text += " i, j = Split <axis = 0, num_outputs = 2> (x4)"
            text += " z = Constant <value_ints = [0]> () l = Squeeze(i, z) o = Squeeze(j, z)"
            past = ", l, o"
        if slug in ("causal", "past"):
            allowed, mask = _causal(length, total), "m"
        if slug == "bias":
            inputs[5] = draw.tensor(ask.element, (1, heads, length, length), -2, 2)
            bias, mask = _wide(inputs[5]), "x5"
        if slug == "scale":
            settings["scale"], scale = 0.25, ", scale = 0.25"
        if mask == "m" and isinstance(allowed, np.ndarray):
            text += " " + _mask_text("m", allowed)
        result = attended(q, k, v, scale=settings.get("scale"), bias=bias, allowed=allowed)
        text += " y0, g, h = " if past else " y0 = "
        given_text = f"q, k, v{', ' + mask if mask else ''}{past}"
        text += f"Attention <q_num_heads = {heads}, kv_num_heads = {heads}{scale}> ({given_text})"
        if past:
            text += " a = Unsqueeze(g, z) b = Unsqueeze(h, z) y1 = Concat <axis = 0> (a, b)"
        while inputs[-1] is None:
            inputs.pop()
        yield ask.draft(
            slug,
            inputs,
            [joined(result), np.stack([k, v])] if past else [joined(result)],
            outputs=[ask.type] * (2 if past else 1),
            attributes=settings,
            composition=text,
            tolerance=_near(ask.element, size * hidden, total),
        )


def rotated(x: Array, cos: Array, sin: Array, positions: Array, interleaved: int) -> Array:
    """(batch, heads, sequence, head) rotated by the cached angles of its positions."""
    c, s = cos[positions][:, None], sin[positions][:, None]
    half = c.shape[-1]
    turned, rest = x[..., : 2 * half], x[..., 2 * half :]
    real = turned[..., 0::2] if interleaved else turned[..., :half]
    imaginary = turned[..., 1::2] if interleaved else turned[..., half:]
    p, q = c * real - s * imaginary, s * real + c * imaginary
    both = np.stack([p, q], axis=-1).reshape(turned.shape) if interleaved else None
    moved = both if both is not None else np.concatenate([p, q], axis=-1)
    return np.concatenate([moved, rest], axis=-1)


@generates(_MS + "RotaryEmbedding")
def rotary(ask: Ask) -> Iterator[Draft]:
    """Halves and interleaved, an offset and positions a token, three and four dimensions, part of
    the head."""
    if not ask.first:
        return
    for slug, interleaved, rank, offset, partial in (
        ("halves", 0, 3, False, 0),
        ("interleaved", 1, 3, False, 0),
        ("offset", 0, 3, True, 0),
        ("rank4", 0, 4, False, 0),
        ("rank4-interleaved", 1, 4, False, 0),
        ("partial", 0, 4, False, 4),
    ):
        heads, size, length = 2, 8, 3
        draw = ask.draw(slug)
        half = (partial or size) // 2
        angles = draw.floats((10, half), -3, 3)
        cos, sin = narrow(np.cos(angles), ask.element), narrow(np.sin(angles), ask.element)
        shape = (2, heads, length, size) if rank == 4 else (2, length, heads * size)
        x = draw.tensor(ask.element, shape, -2, 2)
        positions = np.array([[4, 5, 6]] * 2) if offset else draw.integers((2, length), 0, 9)
        given = np.array([4]) if offset else positions
        split = widen(x) if rank == 4 else heads_of(widen(x), heads)
        moved = rotated(split, widen(cos), widen(sin), positions, interleaved)
        attributes: dict[str, int] = {"interleaved": interleaved}
        text = "p = Identity(x1)"
        if offset:
            text = "r = Constant <value_ints = [0, 1, 2, 0, 1, 2]> () a = Add(r, x1)"
            text += " s = Constant <value_ints = [2, 3]> () p = Reshape(a, s)"
        how = f"interleaved = {interleaved}"
        if rank == 3 or partial:
            attributes["num_heads"] = heads
            # A cache of half the head tells a device the rest, where all of it is turned.
            attributes["rotary_embedding_dim"] = partial or size
            how += f", num_heads = {heads}"
        if partial:
            how += f", rotary_embedding_dim = {partial}"
        yield ask.draft(
            slug,
            [x, narrow(given, ElementType.INT64), cos, sin],
            [moved if rank == 4 else joined(moved)],
            attributes=attributes,
            composition=f"{text} y0 = RotaryEmbedding <{how}> (x0, x2, x3, p)",
            tolerance=accumulated(ask.element, terms=3, magnitude=4.0, steps=2, rounded=4.0),
        )


@generates(_MS + "GroupQueryAttention")
def grouped(ask: Ask) -> Iterator[Draft]:
    """A prompt and a step after it, rotation, a window, a cap, packed inputs, a sink, a scale."""
    if not ask.first:
        return
    heads, groups = 4, 2
    for slug, length, before, settings in (
        ("prompt", 5, 0, {}),
        ("step", 1, 4, {}),
        ("chunk", 3, 4, {}),
        ("scale", 4, 0, {"scale": 0.25}),
        ("rotary", 4, 0, {"do_rotary": 1}),
        ("rotary-step", 1, 4, {"do_rotary": 1}),
        ("rotary-interleaved", 4, 0, {"do_rotary": 1, "rotary_interleaved": 1}),
        ("window", 6, 0, {"local_window_size": 3}),
        ("window-step", 1, 6, {"local_window_size": 3}),
        ("softcap", 4, 0, {"softcap": 2.0}),
        ("packed", 4, 0, {}),
        ("smooth", 4, 0, {"smooth_softmax": 1}),
        ("sink", 4, 0, {}),
    ):
        draw = ask.draw(slug)
        batch = 1 if slug == "chunk" else 2
        size = 16 if "do_rotary" in settings else 8  # onnxruntime turns heads of 16 only
        total = before + length
        q, k, v = (
            draw.tensor(ask.element, (batch, length, n * size), -1.5, 1.5)
            for n in (heads, groups, groups)
        )
        hq, hk, hv = (
            heads_of(widen(q), heads),
            heads_of(widen(k), groups),
            heads_of(widen(v), groups),
        )
        inputs: list[Tensor | None] = [q, k, v, *[None] * 9]
        inputs[5] = narrow(np.full(batch, total - 1), ElementType.INT32)
        inputs[6] = narrow(np.array(total), ElementType.INT32)
        text = "q = Identity(x0) k = Identity(x1) v = Identity(x2)"
        if slug == "packed":
            both = np.concatenate([t.numpy() for t in (q, k, v)], axis=-1)
            inputs[:3] = [Tensor.from_numpy(both, ask.element), None, None]
            sizes = f"{heads * size}, {groups * size}, {groups * size}"
            text = f"s = Constant <value_ints = [{sizes}]> () q, k, v = Split <axis = -1> (x0, s)"
        names = "q, k, v"
        if "do_rotary" in settings:
            angles = draw.floats((12, size // 2), -3, 3)
            inputs[7], inputs[8] = (narrow(f(angles), ask.element) for f in (np.cos, np.sin))
            places = np.tile(np.arange(before, total), (batch, 1))
            turn = int(settings.get("rotary_interleaved", 0))
            cos, sin = _wide(inputs[7]), _wide(inputs[8])
            hq, hk = (rotated(h, cos, sin, places, turn) for h in (hq, hk))
            text += f" pi = Constant <value_ints = [{_bits(places)}]> ()"
            text += f" ps = Constant <value_ints = [{batch}, {length}]> () pp = Reshape(pi, ps)"
            for name, count in (("q", heads), ("k", groups)):
                how = f"interleaved = {turn}, num_heads = {count}"
                text += f" {name}r = RotaryEmbedding <{how}> ({name}, x7, x8, pp)"
            names = "qr, kr, v"
        past = ""
        if before:
            inputs[3], inputs[4] = (
                draw.tensor(ask.element, (batch, groups, before, size), -1.5, 1.5) for _ in range(2)
            )
            hk = np.concatenate([_wide(inputs[3]), hk], axis=2)
            hv = np.concatenate([_wide(inputs[4]), hv], axis=2)
            past = ", x3, x4"
        sink = None
        if slug == "sink":
            inputs[11] = draw.tensor(ask.element, (heads,), -1, 2)
            sink = _wide(inputs[11])
        elif slug == "smooth":
            sink = np.zeros(heads)
        allowed = _causal(length, total, int(settings.get("local_window_size", 0)))
        result = attended(
            hq,
            hk,
            hv,
            scale=settings.get("scale"),
            allowed=allowed,
            softcap=settings.get("softcap", 0.0),
            sink=sink,
        )
        text += " " + _mask_text("m", allowed)
        extra = "".join(f", {n} = {settings[n]}" for n in ("scale", "softcap") if n in settings)
        how = f"q_num_heads = {heads}, kv_num_heads = {groups}{extra}"
        text += f" y0, y1, y2 = Attention <{how}> ({names}, m{past})"
        while inputs[-1] is None:
            inputs.pop()
        yield ask.draft(
            slug,
            inputs,
            [joined(result), hk, hv],
            outputs=[ask.type] * 3,
            attributes={"num_heads": heads, "kv_num_heads": groups, **settings},
            composition=text,
            oracle="none" if sink is not None else "widened",
            reason="ONNX's Attention has no term for a sink",
            tolerance=_near(ask.element, size, total),
        )
