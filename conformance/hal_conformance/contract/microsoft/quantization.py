"""QuantizeLinear and DequantizeLinear of com.microsoft."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hal import ElementType
from hal_conformance.contract.draft import Ask, Draft, generates
from hal_conformance.contract.numbers import bounds, narrow, widen
from hal_conformance.contract.tolerance import elementary

_MS = "com.microsoft::"


@generates(_MS + "QuantizeLinear")
def quantise(ask: Ask) -> Iterator[Draft]:
    """Halves round to even before the zero point is added, both ends saturate; along an axis."""
    if ask.constraint != "T2":
        return
    low, high = bounds(ask.element)
    middle = 0 if low < 0 else high // 2
    zero = middle + 1
    span = high - low
    steps = np.array([-0.5, 0.5, 1.5, 2.5, -1.5, 0.0, 3.25, -2.75, span, -span, span / 2 + 0.5])
    opset = 21 if ask.element.bits != 8 else 17
    x = narrow(steps * 0.5, ElementType.FLOAT)
    yield ask.draft(
        "tensor",
        [x, narrow(np.array(0.5), ElementType.FLOAT), narrow(np.array(zero), ask.element)],
        [np.clip(np.rint(steps) + zero, low, high).astype(np.int64)],
        composition="y0 = QuantizeLinear(x0, x1, x2)",
        opset=opset,
    )
    draw = ask.draw("axis")
    scales, zeros = np.array([0.5, 0.25, 2.0]), draw.integers((3,), max(low, -3), 4)
    values = narrow(draw.integers((2, 3, 4), -40, 40) * 0.125, ElementType.FLOAT)
    ratio = widen(values) / scales[:, None]
    yield ask.draft(
        "axis",
        [values, narrow(scales, ElementType.FLOAT), narrow(zeros, ask.element)],
        [np.clip(np.rint(ratio) + zeros[:, None], low, high).astype(np.int64)],
        attributes={"axis": 1},
        composition="y0 = QuantizeLinear <axis = 1> (x0, x1, x2)",
        opset=opset,
    )


@generates(_MS + "DequantizeLinear")
def dequantise(ask: Ask) -> Iterator[Draft]:
    """Both ends of the type; along an axis; without a zero point."""
    if ask.constraint != "T1":
        return
    low, high = bounds(ask.element)
    opset = 17 if ask.element.bits in (8, 32) else 21
    top = min(high, 1 << 20)
    integers = np.array([max(low, -top), 0, 1, min(3, high), top])
    scale = narrow(np.array(0.25), ElementType.FLOAT)
    near = elementary(ElementType.FLOAT, "Mul")
    # int32 has no zero point: it stands for accumulators.
    zero = np.array(0 if ask.element is ElementType.INT32 else 2)
    x = narrow(integers, ask.element)
    for slug, inputs, given in (
        ("tensor", [x, scale, narrow(zero, ask.element)], "x0, x1, x2"),
        ("no-zero", [x, scale], "x0, x1"),
    ):
        offset = zero if slug == "tensor" else 0
        yield ask.draft(
            slug,
            inputs,
            [(integers - offset) * 0.25],
            outputs=["tensor(float)"],
            composition=f"y0 = DequantizeLinear({given})",
            tolerance=near,
            opset=opset,
        )
    draw = ask.draw("axis")
    values = draw.integers((2, 3, 4), max(low, -50), min(high, 50))
    scales = draw.tensor(ElementType.FLOAT, (3,), 0.1, 2)
    zeros = np.zeros(3, np.int64) + zero
    yield ask.draft(
        "axis",
        [narrow(values, ask.element), scales, narrow(zeros, ask.element)],
        [(values - zeros[:, None]) * widen(scales)[:, None]],
        outputs=["tensor(float)"],
        attributes={"axis": 1},
        composition="y0 = DequantizeLinear <axis = 1> (x0, x1, x2)",
        tolerance=near,
        opset=opset,
    )
