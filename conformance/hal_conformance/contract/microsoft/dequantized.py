"""Operators whose quantised weights become real: bitsandbytes' four bits, attention, embeddings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from hal import ElementType, Tensor
from hal_conformance.contract.draft import Ask, Draft, generates
from hal_conformance.contract.microsoft.attention import attended, heads_of, joined
from hal_conformance.contract.microsoft.pointwise import single
from hal_conformance.contract.microsoft.products import packed, unpacking
from hal_conformance.contract.numbers import Array, narrow, widen
from hal_conformance.contract.tolerance import accumulated, composed

_MS = "com.microsoft::"

# bitsandbytes' tables (T. Dettmers et al., QLoRA, NeurIPS 2023, appendix E, has NF4).
_FP4 = [0.0, 0.0052083333, 0.6666667, 1.0, 0.33333333, 0.5, 0.16666667, 0.25]
_NF4 = [
    *(-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453),
    *(-0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0),
    *(0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224),
    *(0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0),
]
_TABLES = {0: [*_FP4, *(-v for v in _FP4)], 1: _NF4}


@generates(_MS + "MatMulBnb4")
def four_bits(ask: Ask) -> Iterator[Draft]:
    """Both tables; blocks over the rows of the weights laid end to end; one row and batches."""
    if not ask.first:
        return
    for slug, rows, k, n, block, kind in (
        ("fp4", (3,), 32, 5, 16, 0),
        ("nf4", (3,), 32, 5, 16, 1),
        ("row", (1,), 64, 8, 32, 1),
        ("batch", (2, 3), 64, 4, 64, 0),
        ("over-rows", (2,), 16, 8, 64, 1),
        ("wide", (2,), 256, 33, 64, 1),
    ):
        draw = ask.draw(slug)
        a = draw.tensor(ask.element, (*rows, k), -2, 2)
        codes = draw.integers((n * k,), 0, 15)
        # The first of two stands in the upper half of a byte.
        halves = narrow(packed(codes.reshape(-1, 2)[:, ::-1], 4).ravel(), ElementType.UINT8)
        most = draw.tensor(ask.element, (-(-n * k // block),), 0.1, 1)
        known = np.array(_TABLES[kind])[codes]
        weights: Array = (known * np.repeat(widen(most), block)[: n * k]).reshape(n, k)
        magnitude = float((abs(widen(a)) @ abs(weights).T).max())
        table = ", ".join(f"{v:.17g}" for v in _TABLES[kind])
        text = (
            " e = Constant <value_ints = [-1, 1]> () f = Reshape(x1, e)"
            " "
            + unpacking("f", "c", 4, (n * k // 2,), 2)
            + f" t = Constant <value = double[16] {{{table}}}> ()"
            " o = Constant <value_ints = [1]> () z = Constant <value_ints = [0]> ()"
            " r = Constant <value_ints = [2]> () h, l = Split <axis = 1, num_outputs = 2> (c)"
        )
        text += (
            " q = Concat <axis = 1> (l, h) i = Cast <to = 7> (q) w = Gather(t, i)"
            f" d = Constant <value_ints = [-1, {block}]> () b = Reshape(w, d)"
            " m = Unsqueeze(x2, o) v = Mul(b, m)"
            f" s = Constant <value_ints = [{n}, {k}]> () u = Reshape(v, s)"
            " x = Transpose <perm = [1, 0]> (u) y0 = MatMul(x0, x)"
        )
        yield ask.draft(
            slug,
            [a, halves, most],
            [widen(a) @ weights.T],
            attributes={"K": k, "N": n, "block_size": block, "quant_type": kind},
            constants=frozenset({1, 2} if slug == "row" else ()),
            composition=text,
            # A kernel may round the weights to the type before it multiplies.
            tolerance=accumulated(
                ask.element, terms=k + 2, magnitude=magnitude, steps=2, rounded=magnitude
            ),
        )


_QUANTISED: dict[str, dict[str, Any]] = {
    "plain": {},
    "zero": {"zero": True},
    "columns": {"columns": True},
    "causal": {"unidirectional": 1},
    "mask": {"zero": True, "mask": True},
    "past": {"unidirectional": 1, "zero": True, "past": True},
}


@generates(_MS + "QAttention")
def quantised_attention(ask: Ask) -> Iterator[Draft]:
    """Zero points, a scale for each column of the weights, a mask of lengths, causal, a past."""
    if ask.constraint == "T4":
        return  # the cases of T1 have it
    given, held = ElementType.UINT8, ElementType.INT8
    real = ask.element if ask.constraint == "T3" else ElementType.FLOAT
    if ask.constraint == "T1":
        given = ask.element
    if ask.constraint == "T2":
        held = ask.element
    for slug, row in _QUANTISED.items():
        if ask.constraint != "T1" and slug != "zero":
            continue
        yield _attention(ask, slug, row, given, held, real)


def _attention(
    ask: Ask,
    slug: str,
    row: dict[str, Any],
    given: ElementType,
    held: ElementType,
    real: ElementType,
) -> Draft:
    draw = ask.draw(slug)
    heads, size, hidden, length = 2, 4, 6, 4
    wide = heads * size

    def whole(kind: ElementType, shape: tuple[int, ...]) -> Tensor:
        low = 0 if kind is ElementType.UINT8 else -128
        return narrow(draw.integers(shape, low, low + 255), kind)

    x, w = whole(given, (2, length, hidden)), whole(held, (hidden, 3 * wide))
    offset = draw.tensor(real, (3 * wide,), -1, 1)
    scale = narrow(1 / 128, real)
    scales = draw.tensor(real, (3 * wide,) if row.get("columns") else (), 0.004, 0.008)
    inputs: list[Tensor | None] = [x, w, offset, scale, scales, None, None, None, None]
    left, right = widen(x), widen(w)
    text = "a = Cast <to = 11> (x0) b = Cast <to = 11> (x1)"
    if row.get("zero"):
        zeros = [narrow(draw.integers((), 100, 120), kind) for kind in (given, held)]
        left, right = left - widen(zeros[0]), right - widen(zeros[1])
        inputs[6:8] = zeros
        text += " i = Cast <to = 11> (x6) j = Cast <to = 11> (x7) c = Sub(a, i) d = Sub(b, j)"
    else:
        text += " c = Identity(a) d = Identity(b)"
    parts = (left @ right) * widen(scale) * widen(scales) + widen(offset)
    text += " e = MatMul(c, d) f = Mul(e, x3) g = Mul(f, x4) s = Add(g, x2)"
    text += " q, k, v = Split <axis = -1, num_outputs = 3> (s)"
    q, k, v = (heads_of(p, heads) for p in np.split(parts, 3, axis=-1))
    total, past, mask = length, "", ""
    allowed: Array | bool = True
    if row.get("past"):
        old = draw.tensor(real, (2, 2, heads, 3, size), -2, 2)
        inputs[8], total, past = old, length + 3, ", l, o"
        k = np.concatenate([widen(old)[0], k], axis=2)
        v = np.concatenate([widen(old)[1], v], axis=2)
        text += " m, n = Split <axis = 0, num_outputs = 2> (x8)"
        text += " z = Constant <value_ints = [0]> () l = Squeeze(m, z) o = Squeeze(n, z)"
    if row.get("unidirectional"):
        allowed = np.arange(total) <= np.arange(total - length, total)[:, None]
    if row.get("mask"):
        lengths = np.array([length, 2])
        inputs[5] = narrow(lengths, ElementType.INT32)
        kept = np.arange(length) < lengths[:, None]
        allowed = np.broadcast_to(kept[:, None, None, :], (2, 1, length, length))
    if isinstance(allowed, np.ndarray):
        mask = ", allowed"
        bits = ", ".join(str(int(flag)) for flag in allowed.ravel())
        sizes = ", ".join(map(str, allowed.shape))
        text += f" t = Constant <value_ints = [{bits}]> () u = Constant <value_ints = [{sizes}]> ()"
        text += " r = Reshape(t, u) allowed = Cast <to = 9> (r)"
    while inputs[-1] is None:
        inputs.pop()
    text += f" y0{', pk, pv' if past else ''} = Attention"
    text += f" <q_num_heads = {heads}, kv_num_heads = {heads}> (q, k, v{mask}{past})"
    if past:
        text += " pa = Unsqueeze(pk, z) pb = Unsqueeze(pv, z) y1 = Concat <axis = 0> (pa, pb)"
    result = joined(attended(q, k, v, allowed=allowed))
    type_ = f"tensor({real.onnx_name})"
    return ask.draft(
        slug,
        inputs,
        [result, np.stack([k, v])] if past else [result],
        outputs=[type_] * (2 if past else 1),
        attributes={"num_heads": heads, "unidirectional": row.get("unidirectional", 0)},
        composition=text,
        tolerance=accumulated(
            real, terms=size * hidden + total + 16, magnitude=64.0, steps=8, rounded=16.0
        ),
    )


@generates(_MS + "QEmbedLayerNormalization")
def quantised_embedding(ask: Ask) -> Iterator[Draft]:
    """Words and positions, and segments; a mask, whose sum is its index."""
    if ask.constraint != "T2":
        return
    low = 0 if ask.element is ElementType.UINT8 else -128
    for slug in ("plain", "segments", "mask"):
        draw = ask.draw(slug)
        ids, segment = (
            narrow(draw.integers((2, 4), 0, most), ElementType.INT32) for most in (9, 1)
        )
        shapes = [(10, 8), (6, 8), (2, 8), (8,), (8,)]
        tables = [narrow(draw.integers(s, low, low + 255), ask.element) for s in shapes]
        scales = [draw.tensor(ElementType.FLOAT, (), 0.01, 0.03) for _ in shapes]
        zeros = [narrow(draw.integers((), low + 100, low + 150), ask.element) for _ in shapes]
        words, places, kinds, gamma, beta = (
            (widen(t) - widen(z)) * widen(s) for t, s, z in zip(tables, scales, zeros, strict=True)
        )
        total = words[widen(ids)] + places[:4]
        if slug != "plain":
            total = total + kinds[widen(segment)]
        middle = total.mean(axis=-1, keepdims=True)
        spread = ((total - middle) ** 2).mean(axis=-1, keepdims=True)
        result = (total - middle) / np.sqrt(spread + single(1e-5)) * gamma + beta
        text = ""
        for i, name in enumerate("wpkgb"):
            if slug == "plain" and name == "k":
                continue
            text += f" {name}c = Cast <to = 11> (x{i + 2}) {name}z = Cast <to = 11> (x{i + 13})"
            text += f" {name}d = Sub({name}c, {name}z) {name} = Mul({name}d, x{i + 8})"
        text += " r = Constant <value_ints = [0, 1, 2, 3]> () l = Gather(p, r) m = Gather(w, x0)"
        text += " n = Add(m, l)"
        text += " o = Identity(n)" if slug == "plain" else " q = Gather(k, x1) o = Add(n, q)"
        text += " y0 = LayerNormalization <axis = -1, epsilon = 0.00001> (o, g, b)"
        lengths = np.array([3, 4]) if slug == "mask" else np.array([0, 0])
        mask = narrow(np.arange(4) < lengths[:, None], ElementType.INT32)
        if slug == "mask":
            text += " a = Constant <value_ints = [1]> () y1 = ReduceSum <keepdims = 0> (x7, a)"
        else:
            text += " y1 = Constant <value_ints = [0, 0]> ()"
        inputs: list[Tensor | None] = [ids, segment, *tables, mask, *scales, *zeros]
        if slug == "plain":
            inputs[1] = inputs[4] = inputs[10] = inputs[15] = None
        if slug != "mask":
            inputs[7] = None
        yield ask.draft(
            slug,
            inputs,
            [result, lengths],
            outputs=["tensor(float)", "tensor(int32)"],
            attributes={"epsilon": 1e-5},
            composition=text,
            tolerance=composed(ElementType.FLOAT, magnitude=8.0),
        )
