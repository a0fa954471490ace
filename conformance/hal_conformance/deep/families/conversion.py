"""Conversions between types, and quantisation."""

from __future__ import annotations

from typing import Any

import numpy as np

from hal import ElementType, Tensor
from hal_conformance.contract.draft import Ask, Draft
from hal_conformance.contract.families import cast as casts
from hal_conformance.contract.families.quantization import quantised_to
from hal_conformance.contract.numbers import bounds, is_integer, narrow, widen
from hal_conformance.deep.choices import Choices, Unfit
from hal_conformance.deep.makers import makes


@makes("Cast")
def cast(ask: Ask, choices: Choices) -> Draft:
    """To any type, the values whose conversion the standard states, in any shape."""
    names = [t for t in ask.types("T2") if t.startswith("tensor(")]
    target = ElementType.from_onnx_name(choices.one_of(names)[7:-1])
    values = casts.values_for(ask.element, target)
    if not len(values):
        raise Unfit("the standard states nothing of this pair")
    shape = choices.shape(0, 5)
    places = ask.draw(choices.seed()).integers((int(np.prod(shape)),), 0, len(values) - 1)
    x = narrow(np.asarray(values)[places], ask.element)
    expected = casts.converted(widen(x), ask.element, target)
    if isinstance(expected, Tensor):
        expected = Tensor(target, shape, expected.data)
    else:
        expected = np.asarray(expected).reshape(shape)
    return ask.draft(
        "deep",
        [Tensor.from_numpy(x.bits().reshape(shape), ask.element)],
        [expected],
        outputs=(f"tensor({target.onnx_name})",),
        attributes={"to": int(target)},
        oracle="native",
    )


def _is_target(ask: Ask) -> bool:
    return ask.constraint == "T3" and is_integer(ask.element)


@makes("QuantizeLinear", takes=_is_target)
def quantize(ask: Ask, choices: Choices) -> Draft:
    """Quarters of steps, so with ties, past both ends of the type; per tensor and per axis."""
    shape = choices.shape(1, 4, empty=False)
    axis = choices.axis(len(shape)) if choices.flag() else None
    draw, element = ask.draw(choices.seed()), ask.element
    scale, zero, spread, point = _grid(ask, choices, shape, axis)
    low, high = bounds(element)
    reach = min(high - low, 1000)
    steps = draw.integers(shape, -4 * reach, 4 * reach) / 4
    x = narrow(steps * spread, ElementType.FLOAT)
    inputs: list[Tensor | None] = [x, narrow(scale, ElementType.FLOAT), narrow(zero, element)]
    return ask.draft(
        "deep",
        inputs,
        [quantised_to(widen(x), spread, point, element)],
        attributes={} if axis is None else {"axis": axis},
        oracle="native",
    )


@makes("DequantizeLinear", takes=lambda ask: ask.first and is_integer(ask.element))
def dequantize(ask: Ask, choices: Choices) -> Draft:
    """Per tensor and per axis."""
    shape = choices.shape(1, 4, empty=False)
    axis = choices.axis(len(shape)) if choices.flag() else None
    low, high = bounds(ask.element)
    scale, zero, spread, point = _grid(ask, choices, shape, axis)
    x = ask.draw(choices.seed()).tensor(ask.element, shape, max(low, -9999), min(high, 9999))
    inputs: list[Tensor | None] = [x, narrow(scale, ElementType.FLOAT)]
    if ask.element is ElementType.INT32:
        point = 0
    else:
        inputs.append(narrow(zero, ask.element))
    return ask.draft(
        "deep",
        inputs,
        [(widen(x) - point) * spread],
        outputs=("tensor(float)",),
        attributes={} if axis is None else {"axis": axis},
        oracle="native",
    )


def _grid(ask: Ask, choices: Choices, shape: tuple[int, ...], axis: int | None) -> Any:
    """Scales (powers of two) and zero points; both again, spread over the shape."""
    count = () if axis is None else (shape[axis],)
    scale = np.resize(np.roll([0.5, 1.0, 2.0, 0.25], choices.number(0, 3)), count)
    zero = np.resize(np.array([0, 1, 3]) if choices.flag() else np.array([0]), count)
    if axis is None:
        return scale, zero, scale, zero
    along = [1] * len(shape)
    along[axis] = -1
    return scale, zero, scale.reshape(along), zero.reshape(along)
