"""Quantisation: scales are exact, so that every result is, and ties are ties.

Ties are judged on QuantizeLinear. In the fused QLinear operators results lie between ties, because
their devices requantise by one combined factor.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from hal import ElementType, Tensor
from hal_conformance.contract.draft import Ask, Draft, generates
from hal_conformance.contract.families._window import window_attributes
from hal_conformance.contract.families.convolution import CONVS, convolved
from hal_conformance.contract.numbers import Array, bounds, is_integer, largest, narrow, widen
from hal_conformance.contract.tolerance import EXACT, Tolerance

_E8M0 = ElementType.FLOAT8E8M0
_TIES = (0.0, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 0.25, 0.75, 1.0, -1.0, 3.0)


def quantised_to(x: Array, scale: Any, zero: Any, target: ElementType) -> Array:
    steps = x / scale
    if is_integer(target):
        low, high = bounds(target)
        return np.asarray(np.clip(np.rint(steps) + zero, low, high).astype(np.int64))
    top = largest(target)
    rounded = widen(narrow(np.clip(steps + zero, -top, top), target))
    return np.asarray(rounded)


@generates("QuantizeLinear")
def quantize(ask: Ask) -> Iterator[Draft]:
    """Ties, saturation at both ends, zero points; per tensor, per axis from both ends, in blocks;
    every type of input, scale and result."""
    kinds = {"T1": ElementType.FLOAT, "T2": ElementType.FLOAT, "T3": ElementType.INT8}
    kinds[ask.constraint] = ask.element
    source, scale_type, target = kinds["T1"], kinds["T2"], kinds["T3"]
    if ask.constraint == "T1":
        kinds["T2"] = scale_type = source
    if ask.constraint == "T2" and scale_type is ElementType.INT32:
        kinds["T1"] = source = ElementType.INT32
    whole = source is ElementType.INT32
    zero = 1 if is_integer(target) else 0
    values = np.array([*_TIES, 300.0, -300.0, 6.0, 100.0])
    if whole:
        values = np.array([0, 1, 2, 3, 5, 6, -1, -2, -3, -6, 300, -300, 600, 4, 8, 10])
    for slug, shape, axis, block in (
        ("tensor", (), None, 0),
        ("axis", (4,), 1, 0),
        ("negative-axis", (4,), -1, 0),
        ("block", (2, 4), 0, 2),
    ):
        if ask.constraint != "T3" and slug in ("negative-axis", "block") and not ask.full:
            continue
        powers = np.resize(np.array([2.0, 1.0, 4.0, 2.0] if whole else [0.5, 1.0, 2.0, 4.0]), shape)
        scale = powers if shape else np.array(2.0 if whole else 0.5)
        spread = np.repeat(scale, block, axis=0) if block else scale
        x = values.reshape(4, 4)
        steps = np.broadcast_to(spread, (4, 4))
        x = x if whole else x * steps
        top = min(largest(source), 6e4) if not whole else 1e9
        x = np.clip(x, -top, top)
        inputs: list[Tensor | None] = [narrow(x, source), narrow(scale, scale_type)]
        attributes: dict[str, Any] = {}
        if slug == "negative-axis" or not is_integer(target):
            attributes["output_dtype"] = int(target)
            point = 0
        else:
            inputs.append(narrow(np.full(shape, zero), target))
            point = zero
        if axis is not None:
            attributes["axis"] = axis
        if block:
            attributes["block_size"] = block
        expected = quantised_to(widen(narrow(x, source)), steps, point, target)
        yield ask.draft(
            slug,
            inputs,
            [expected],
            outputs=(f"tensor({target.onnx_name})",),
            attributes=attributes,
            oracle="native",
        )


@generates("DequantizeLinear")
def dequantize(ask: Ask) -> Iterator[Draft]:
    """The ends of each type, zero points; per tensor, per axis, in blocks; every type of input,
    scale and result."""
    kinds = {"T1": ElementType.INT8, "T2": ElementType.FLOAT, "T3": ElementType.FLOAT}
    kinds[ask.constraint] = ask.element
    if ask.constraint == "T2":
        kinds["T3"] = ElementType.FLOAT if ask.element is _E8M0 else ask.element
    source, scale_type, target = kinds["T1"], kinds["T2"], kinds["T3"]
    for slug, shape, axis, block in (
        ("tensor", (), None, 0),
        ("axis", (4,), 1, 0),
        ("negative-axis", (4,), -2, 0),
        ("block", (4, 2), 1, 2),
    ):
        draw = ask.draw(slug)
        x = draw.tensor(source, (4, 4), -100, 100)
        scale = np.resize(np.array([0.5, 1.0, 2.0, 4.0]), shape) if shape else np.array(0.5)
        inputs: list[Tensor | None] = [x, narrow(scale, scale_type)]
        point: Any = 0
        if is_integer(source) and source is not ElementType.INT32 and slug != "tensor":
            point = np.ones(shape, np.int64)
            inputs.append(narrow(point, source))
        spread = scale
        if block:
            spread, point = (
                np.repeat(np.broadcast_to(v, shape), block, axis=1) for v in (scale, point)
            )
        elif axis == -2:
            spread = scale[:, None]
            point = point[:, None] if np.ndim(point) else point
        attributes: dict[str, Any] = {} if axis is None else {"axis": axis}
        if block:
            attributes["block_size"] = block
        if target is not scale_type:
            attributes["output_dtype"] = int(target)
        yield ask.draft(
            slug,
            inputs,
            [(widen(x) - point) * spread],
            outputs=(f"tensor({target.onnx_name})",),
            attributes=attributes,
            oracle="native",
        )


@generates("DynamicQuantizeLinear")
def dynamic_quantize(ask: Ask) -> Iterator[Draft]:
    """Ranges whose scale is a power of two: both signs, one sign only."""
    if not ask.first:
        return
    outputs = ("tensor(uint8)", "tensor(float)", "tensor(uint8)")
    for slug, values, scale, zero in (
        ("positive", [0.0, 255.0, 0.5, 1.5, 2.5, 254.0], 1.0, 0),
        ("negative", [-127.5, -0.25, -0.75, -1.0, -64.0, 0.0], 0.5, 255),
        ("both", [-64.0, 191.0, 0.5, 1.5, -0.5, -1.5], 1.0, 64),
        # The zero point is rounded up, and so is the largest number: one too many.
        ("saturated", [-1.5, 253.5, 0.5, 1.5, -0.5, 0.0], 1.0, 2),
        ("rank5", [-64.0, 191.0, 0.5, 1.5, -0.5, -1.5], 1.0, 64),
        ("scalar", [255.0], 1.0, 0),
    ):
        shape = {"rank5": (1, 2, 1, 3, 1), "scalar": ()}.get(slug, (2, 3))
        x = np.array(values).reshape(shape)
        quantised = np.clip(np.rint(x / scale) + zero, 0, 255).astype(np.int64)
        expected = [quantised, np.array(scale), np.array(zero)]
        yield ask.draft(
            slug, [narrow(x, ElementType.FLOAT)], expected, outputs=outputs, oracle="native"
        )


@generates("QLinearMatMul")
def qlinear_matmul(ask: Ask) -> Iterator[Draft]:
    """Every type of operand, scale and result; two and three dimensions; one scale a row and a
    column. The reference runs the per-tensor forms."""
    kinds = {
        "T1": ElementType.INT8,
        "T2": ElementType.INT8,
        "T3": ElementType.INT8,
        "TS": ElementType.FLOAT,
    }
    kinds[ask.constraint] = ask.element
    if ask.constraint != "TS" and not is_integer(ask.element):
        # float8 with float8: the standard mixes the two kinds nowhere.
        kinds.update(dict.fromkeys(("T1", "T2", "T3"), ask.element))
        if ask.constraint != "T1":
            return
    for slug, left, right in (("matrices", (3, 4), (4, 2)), ("batch", (2, 3, 4), (2, 4, 2))):
        draw = ask.draw(slug)
        a, b = draw.tensor(kinds["T1"], left, -9, 9), draw.tensor(kinds["T2"], right, -9, 9)
        scales = [narrow(np.array(v), kinds["TS"]) for v in (0.5, 0.25, 1.875)]
        points = [
            narrow(np.array(v if is_integer(kinds[k]) else 0), kinds[k])
            for k, v in (("T1", 2), ("T2", 1), ("T3", 3))
        ]
        product = np.matmul(
            (widen(a) - widen(points[0])) * 0.5, (widen(b) - widen(points[1])) * 0.25
        )
        expected = quantised_to(product, 1.875, widen(points[2]), kinds["T3"])
        inputs = [a, scales[0], points[0], b, scales[1], points[1], scales[2], points[2]]
        integers = is_integer(kinds["T3"])
        half = kinds["TS"] is not ElementType.FLOAT
        yield ask.draft(
            slug,
            inputs,
            [expected],
            outputs=(f"tensor({kinds['T3'].onnx_name})",),
            # With scales in half precision the product may be requantised in it.
            tolerance=Tolerance(0.0, 1.0, "one quantisation step") if half else EXACT,
            oracle="native" if integers else "none",
            reason="onnx 1.23.2's evaluator has no float8 in QLinearMatMul",
        )


@generates("QLinearConv")
def qlinear_conv(ask: Ask) -> Iterator[Draft]:
    """Every type of operand and result, asymmetric padding (with the zero point), bias, groups, one
    scale a channel."""
    if ask.constraint == "T4":
        return
    kinds = dict.fromkeys(("T1", "T2", "T3"), ElementType.UINT8)
    kinds[ask.constraint] = ask.element
    for slug, name, channels in (("pads", "pads", False), ("groups", "groups", True)):
        row = CONVS[name]
        draw = ask.draw(slug)
        x = draw.tensor(kinds["T1"], row.shape, -20, 20)
        w = draw.tensor(kinds["T2"], row.weights, -9, 9)
        points = [narrow(np.array(v), kinds[k]) for k, v in (("T1", 3), ("T2", 1), ("T3", 7))]
        made = row.weights[0]
        w_scale = np.resize([0.5, 1.0], made) if channels else np.array(0.5)
        y_scale = 1.75
        sums = convolved(widen(x) - widen(points[0]), widen(w) - widen(points[1]), row)
        inputs: list[Tensor | None] = [
            x,
            narrow(np.array(0.5), ElementType.FLOAT),
            points[0],
            w,
            narrow(w_scale, ElementType.FLOAT),
            narrow(np.full(made, 1), kinds["T2"]) if channels else points[1],
            narrow(np.array(y_scale), ElementType.FLOAT),
            points[2],
        ]
        if row.bias:
            bias = draw.tensor(ElementType.INT32, (made,), -50, 50)
            inputs.append(bias)
            sums = sums + widen(bias).reshape(1, -1, 1, 1)
        real = sums * 0.5 * (w_scale.reshape(1, -1, 1, 1) if channels else w_scale)
        attributes = window_attributes(row.window)
        if row.group > 1:
            attributes["group"] = row.group
        yield ask.draft(
            slug,
            inputs,
            [quantised_to(real, y_scale, widen(points[2]), kinds["T3"])],
            outputs=(f"tensor({kinds['T3'].onnx_name})",),
            attributes=attributes,
            oracle="native",
        )
