"""Products of matrices and convolutions: fused with what follows, and by weights of few bits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from hal import ElementType, Tensor
from hal_conformance.contract.draft import Ask, Draft, generates
from hal_conformance.contract.families._window import window_attributes
from hal_conformance.contract.families.convolution import CONVS, convolved
from hal_conformance.contract.numbers import Array, bounds, narrow, widen
from hal_conformance.contract.tolerance import EXACT, accumulated

__all__ = ["packed", "unpacking"]

_MS = "com.microsoft::"


@generates(_MS + "FusedMatMul", _MS + "TransposeMatMul")
def fused_matmul(ask: Ask) -> Iterator[Draft]:
    """alpha, both transposed, batches broadcast, vectors, and batches moved inside."""
    for slug, left, right, alpha, a, b, batch in (
        ("plain", (3, 5), (5, 4), 1.0, 0, 0, 0),
        ("alpha", (3, 5), (5, 4), 0.125, 0, 0, 0),
        ("trans-a", (5, 3), (5, 4), 1.0, 1, 0, 0),
        ("trans-b", (3, 5), (4, 5), -2.0, 0, 1, 0),
        ("trans-both", (2, 5, 3), (2, 4, 5), 1.0, 1, 1, 0),
        ("broadcast", (2, 1, 3, 6), (3, 6, 2), 0.5, 0, 0, 0),
        ("long", (2, 300), (300, 3), 1.0, 0, 0, 0),
        ("trans-batch", (3, 2, 5), (2, 5, 4), 1.0, 0, 0, 1),
    ):
        if batch and ask.name == "TransposeMatMul":
            continue
        draw = ask.draw(slug)
        x, y = draw.tensor(ask.element, left, -2, 2), draw.tensor(ask.element, right, -2, 2)
        p, q = widen(x), widen(y)
        steps = "a = Identity(x0) b = Identity(x1)"
        if batch:
            p, steps = (
                p.transpose(1, 0, 2),
                "a = Transpose <perm = [1, 0, 2]> (x0) b = Identity(x1)",
            )
        if a:
            p = p.swapaxes(-1, -2)
        if b:
            q = q.swapaxes(-1, -2)
        for name, source, on in (("c", "a", a), ("d", "b", b)):
            order = [*range(len(left if name == "c" else right))]
            order[-2:] = reversed(order[-2:])
            steps += f" {name} = " + (
                f"Transpose <perm = {order}> ({source})" if on else f"Identity({source})"
            )
        steps += f" e = MatMul(c, d) f = Constant <value = double {{{alpha}}}> () y0 = Mul(e, f)"
        attributes = {"alpha": alpha, "transA": a, "transB": b}
        if batch:
            attributes["transBatchA"] = batch
        terms = p.shape[-1]
        yield ask.draft(
            slug,
            [x, y],
            [alpha * np.matmul(p, q)],
            attributes=attributes,
            composition=steps,
            tolerance=accumulated(
                ask.element, terms=terms, magnitude=4.0 * terms * abs(alpha), steps=2
            ),
        )


_FUSED: dict[str, tuple[Any, str, list[float]]] = {
    "Relu": (lambda v: np.maximum(v, 0), "Relu", []),
    "LeakyRelu": (lambda v: np.where(v < 0, 0.25 * v, v), "LeakyRelu <alpha = 0.25>", [0.25]),
    "Tanh": (np.tanh, "Tanh", []),
    "Sigmoid": (lambda v: 1 / (1 + np.exp(-v)), "Sigmoid", []),
    "Clip": (lambda v: np.clip(v, -0.5, 1.5), "", [-0.5, 1.5]),
    "HardSigmoid": (
        lambda v: np.clip(0.25 * v + 0.5, 0, 1),
        "HardSigmoid <alpha = 0.25, beta = 0.5>",
        [0.25, 0.5],
    ),
}


@generates(_MS + "FusedConv")
def fused_conv(ask: Ask) -> Iterator[Draft]:
    """Each activation; the sum with a tensor of the result's shape before it."""
    for name, (function, operator, params) in _FUSED.items():
        for summed in (False, True):
            if summed and name != "Relu":
                continue
            slug = f"{name.lower()}-sum" if summed else name.lower()
            row = CONVS["pads" if name == "Relu" else "bias"]
            draw = ask.draw(slug)
            x = draw.tensor(ask.element, row.shape, -1, 1)
            w = draw.tensor(ask.element, row.weights, -1, 1)
            bias = draw.tensor(ask.element, (row.weights[0],), -1, 1)
            raised = widen(bias).reshape((1, -1) + (1,) * (len(row.shape) - 2))
            result = convolved(widen(x), widen(w), row) + raised
            magnitude = float((convolved(abs(widen(x)), abs(widen(w)), row) + abs(raised)).max())
            inputs = [x, w, bias]
            settings = window_attributes(row.window)
            written = ", ".join(f"{k} = {list(v)}" for k, v in settings.items())
            steps = f"c = Conv <{written}> (x0, x1, x2)"
            if summed:
                inputs.append(draw.tensor(ask.element, result.shape, -1, 1))
                result = result + widen(inputs[-1])
                steps += " s = Add(c, x3)"
            else:
                steps += " s = Identity(c)"
            if operator:
                steps += f" y0 = {operator} (s)"
            else:
                steps += " l = Constant <value = double {-0.5}> ()"
                steps += " h = Constant <value = double {1.5}> () y0 = Clip(s, l, h)"
            attributes: dict[str, Any] = {**settings, "activation": name}
            if params:
                attributes["activation_params"] = params
            yield ask.draft(
                slug,
                inputs,
                [function(result)],
                attributes=attributes,
                composition=steps,
                tolerance=accumulated(
                    ask.element,
                    terms=int(np.prod(row.weights[1:])) + 2,
                    magnitude=magnitude,
                    rounded=magnitude,
                    steps=8,
                ),
            )


@generates(_MS + "FusedGemm")
def fused_gemm(ask: Ask) -> Iterator[Draft]:
    """Relu after the sum, and LeakyRelu with its slope."""
    if ask.element.onnx_name not in ("float", "double", "float16"):
        return  # the documented activations are of real numbers
    for slug, activation, slope in (("relu", "Relu", None), ("leaky", "LeakyRelu", 0.25)):
        draw = ask.draw(slug)
        a, b = draw.tensor(ask.element, (3, 6), -2, 2), draw.tensor(ask.element, (4, 6), -2, 2)
        c = draw.tensor(ask.element, (4,), -2, 2)
        total = 0.5 * widen(a) @ widen(b).T + 2.0 * widen(c)
        result = np.where(total < 0, (slope or 0.0) * total, total)
        how = "Relu" if slope is None else f"LeakyRelu <alpha = {slope}>"
        attributes: dict[str, Any] = {"alpha": 0.5, "beta": 2.0, "transB": 1}
        attributes["activation"] = activation
        if slope is not None:
            attributes["activation_alpha"] = slope
        yield ask.draft(
            slug,
            [a, b, c],
            [result],
            attributes=attributes,
            composition="g = Gemm <alpha = 0.5, beta = 2.0, transB = 1> (x0, x1, x2)"
            f" y0 = {how} (g)",
            tolerance=accumulated(ask.element, terms=7, magnitude=16.0, steps=2),
        )


def packed(values: Array, bits: int) -> Array:
    """Values of few bits in bytes, the first in the lowest bits, along the last axis."""
    each = 8 // bits
    missing = -values.shape[-1] % each
    padded = np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, missing)])
    parts = padded.reshape(*values.shape[:-1], -1, each).astype(np.int64)
    return np.asarray((parts << (np.arange(each) * bits)).sum(axis=-1))


def unpacking(source: str, target: str, bits: int, shape: tuple[int, ...], count: int) -> str:
    """ONNX's operators that unpack bytes: shifted, masked, laid side by side, cut off."""
    each, parts = 8 // bits, []
    text = f"{target}m = Constant <value = uint8 {{{(1 << bits) - 1}}}> ()"
    for i in range(each):
        text += (
            f" {target}k{i} = Constant <value = uint8 {{{i * bits}}}> ()"
            f' {target}s{i} = BitShift <direction = "RIGHT"> ({source}, {target}k{i})'
            f" {target}a{i} = BitwiseAnd({target}s{i}, {target}m)"
            f" {target}x{i} = Constant <value_ints = [-1]> ()"
            f" {target}u{i} = Unsqueeze({target}a{i}, {target}x{i})"
        )
        parts.append(f"{target}u{i}")
    sizes = ", ".join(map(str, shape))
    return text + (
        f" {target}c = Concat <axis = -1> ({', '.join(parts)})"
        f" {target}r = Constant <value_ints = [{sizes}, -1]> ()"
        f" {target}f = Reshape({target}c, {target}r)"
        f" {target}0 = Constant <value_ints = [0]> ()"
        f" {target}1 = Constant <value_ints = [{count}]> ()"
        f" {target}2 = Constant <value_ints = [-1]> ()"
        f" {target}g = Slice({target}f, {target}0, {target}1, {target}2)"
        f" {target} = Cast <to = 11> ({target}g)"
    )


@generates(_MS + "MatMulNBits")
def matmul_bits(ask: Ask) -> Iterator[Draft]:
    """4, 8 and 2 bits; zero points by default, packed and real; a last block that is cut off; a
    bias; batches; one row and several; constant weights, as models have them."""
    if ask.constraint not in ("T1", "T3"):
        return
    if ask.constraint == "T3" and ask.element is not ElementType.UINT8:
        return
    real = ask.element if ask.constraint == "T1" else ElementType.FLOAT
    for slug, rows, k, n, block, bits, zero, biased in (
        ("plain", (3,), 32, 5, 16, 4, "", False),
        ("row", (1,), 64, 8, 32, 4, "", False),
        ("cut-off", (2,), 40, 6, 16, 4, "", False),
        ("zero", (4,), 64, 3, 32, 4, "packed", False),
        ("zero-odd", (2,), 48, 4, 16, 4, "packed", True),
        ("zero-real", (2,), 32, 4, 16, 4, "real", False),
        ("bias", (2, 3), 64, 7, 64, 4, "", True),
        ("eight", (3,), 32, 5, 16, 8, "", False),
        ("eight-zero", (2,), 64, 4, 32, 8, "packed", False),
        ("two", (2,), 64, 4, 32, 2, "", False),
        ("wide", (2,), 256, 33, 128, 4, "packed", False),
    ):
        in_bytes = zero == "packed"
        if in_bytes != (ask.constraint == "T3"):
            continue
        draw = ask.draw(slug)
        blocks = -(-k // block)
        a = draw.tensor(real, (*rows, k), -2, 2)
        weights = draw.integers((n, blocks, block), 0, (1 << bits) - 1)
        scales = draw.tensor(real, (n, blocks), 0.01, 0.1)
        middle = np.full((n, blocks), 1 << (bits - 1))
        points: Tensor | None = None
        text = unpacking("x1", "b", bits, (n, blocks), block)
        text += " axis = Constant <value_ints = [-1]> () sc = Unsqueeze(x2, axis)"
        if in_bytes:
            middle = draw.integers((n, blocks), 0, (1 << bits) - 1)
            points = narrow(packed(middle, bits), ElementType.UINT8)
            text += " " + unpacking("x3", "z", bits, (n,), blocks)
            text += " zp = Unsqueeze(z, axis) m = Sub(b, zp)"
        elif zero:
            points = draw.tensor(real, (n, blocks), 4, 11)
            text += " zp = Unsqueeze(x3, axis) m = Sub(b, zp)"
        else:
            text += f" zp = Constant <value = double {{{1 << (bits - 1)}}}> () m = Sub(b, zp)"
        centre = widen(points) if zero == "real" and points is not None else middle
        real_weights = (weights - centre[..., None]) * widen(scales)[..., None]
        matrix = real_weights.reshape(n, -1)[:, :k]
        result = widen(a) @ matrix.T
        magnitude = float((abs(widen(a)) @ abs(matrix).T).max())
        text += (
            f" w = Mul(m, sc) sh = Constant <value_ints = [{n}, -1]> () f = Reshape(w, sh)"
            f" p = Constant <value_ints = [0]> () q = Constant <value_ints = [{k}]> ()"
            " g = Slice(f, p, q, axis) t = Transpose <perm = [1, 0]> (g) y = MatMul(x0, t)"
        )
        inputs = [
            a,
            narrow(packed(weights, bits), ElementType.UINT8),
            scales,
            points,
            None,
            draw.tensor(real, (n,), -1, 1) if biased else None,
        ]
        if biased and inputs[5] is not None:
            result = result + widen(inputs[5])
            magnitude += 1.0
        text += " y0 = Add(y, x5)" if biased else " y0 = Identity(y)"
        while inputs[-1] is None:
            inputs.pop()
        yield ask.draft(
            slug,
            inputs,
            [result],
            outputs=[f"tensor({real.onnx_name})"],
            attributes={"K": k, "N": n, "bits": bits, "block_size": block},
            constants=frozenset(range(1, len(inputs))),
            composition=text,
            # Weights may be rounded to the type when they are dequantised.
            tolerance=accumulated(
                real, terms=k + 2, magnitude=2 * magnitude, steps=2, rounded=magnitude
            ),
        )


@generates(_MS + "MatMulIntegerToFloat")
def integer_to_float(ask: Ask) -> Iterator[Draft]:
    """Integers multiplied exactly and scaled once; scales and zero points a tensor or a column."""
    if ask.constraint not in ("T1", "T2"):
        return
    for slug, columns, biased in (("scalar", False, False), ("columns", True, True)):
        draw = ask.draw(slug)
        other = ElementType.INT8 if ask.constraint == "T1" else ElementType.UINT8
        left, right = (ask.element, other) if ask.constraint == "T1" else (other, ask.element)
        (low, high), (least, most) = bounds(left), bounds(right)
        a, b = draw.integers((2, 3, 12), low, high), draw.integers((12, 5), least, most)
        zero_a = draw.integers((), low, high)
        zero_b = draw.integers((5,) if columns else (), least // 8, most // 8)
        a_scale = draw.tensor(ElementType.FLOAT, (), 0.01, 0.1)
        b_scale = draw.tensor(ElementType.FLOAT, (5,) if columns else (), 0.01, 0.1)
        bias = draw.tensor(ElementType.FLOAT, (5,), -2, 2) if biased else None
        product = (a - zero_a) @ (b - zero_b)
        result = product * (widen(a_scale) * widen(b_scale))
        if bias is not None:
            result = result + widen(bias)
        text = "p = MatMulInteger(x0, x1, x4, x5) r = Cast <to = 11> (p) s = Mul(x2, x3)"
        text += " t = Mul(r, s)" + (" y0 = Add(t, x6)" if biased else " y0 = Identity(t)")
        inputs = [
            narrow(a, left), narrow(b, right), a_scale, b_scale, narrow(zero_a, left),
            narrow(zero_b, right), *([bias] if bias is not None else []),
        ]  # fmt: skip
        magnitude = float(np.abs(result).max()) + 2.0
        yield ask.draft(
            slug,
            inputs,
            [result],
            outputs=["tensor(float)"],
            composition=text,
            tolerance=accumulated(ElementType.FLOAT, terms=3, magnitude=magnitude, steps=2),
        )


@generates(_MS + "DynamicQuantizeMatMul")
def dynamic_quantise(ask: Ask) -> Iterator[Draft]:
    """A is quantised to uint8 over its own range: one whose steps are exact, so that the integers
    are certain. Scales and zero points of B a tensor or a column; a bias."""
    if ask.constraint != "T2":
        return
    for slug, columns, zeroed, biased in (
        ("plain", False, False, False),
        ("zero", False, True, True),
        ("columns", True, True, False),
    ):
        draw = ask.draw(slug)
        low, high = bounds(ask.element)
        steps = draw.integers((4, 12), 0, 255)
        steps[0, :2] = 0, 255
        a = narrow((steps - 96) * 0.125, ElementType.FLOAT)
        b = draw.integers((12, 5), max(low, -100), min(high, 200))
        zero = draw.integers((5,) if columns else (), max(low, -9), 9) if zeroed else np.array(0)
        scale = draw.tensor(ElementType.FLOAT, (5,) if columns else (), 0.01, 0.1)
        bias = draw.tensor(ElementType.FLOAT, (5,), -2, 2) if biased else None
        result = (widen(a) @ (b - zero)) * widen(scale)
        text = "q, s, z = DynamicQuantizeLinear(x0)"
        text += " p = MatMulInteger(q, x1, z, x3)" if zeroed else " p = MatMulInteger(q, x1, z)"
        text += " r = Cast <to = 11> (p) d = Cast <to = 11> (s) u = Mul(d, x2) t = Mul(r, u)"
        text += " y0 = Add(t, x4)" if biased else " y0 = Identity(t)"
        inputs = [a, narrow(b, ask.element), scale]
        inputs += [narrow(zero, ask.element)] if zeroed else []
        if bias is not None:
            inputs.append(bias)
            result = result + widen(bias)
        yield ask.draft(
            slug,
            inputs,
            [result],
            outputs=["tensor(float)"],
            constants=frozenset(range(1, len(inputs))),
            composition=text,
            tolerance=accumulated(
                ElementType.FLOAT, terms=3, magnitude=float(np.abs(result).max()) + 2, steps=2
            ),
        )


@generates(_MS + "MatMulInteger16")
def integer16(ask: Ask) -> Iterator[Draft]:
    """Sums that need 32 bits."""
    if ask.constraint != "T1" or ask.element is not ElementType.INT16:
        return
    draw = ask.draw("wide")
    a, b = draw.integers((3, 7), -9000, 9000), draw.integers((7, 4), -9000, 9000)
    yield ask.draft(
        "wide",
        [narrow(a, ElementType.INT16), narrow(b, ElementType.INT16)],
        [a @ b],
        outputs=["tensor(int32)"],
        composition="a = Cast <to = 6> (x0) b = Cast <to = 6> (x1) y0 = MatMul(a, b)",
        tolerance=EXACT,
    )
