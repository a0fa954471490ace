"""Operators along axes: reductions, running sums, softmax, normalisations, what is extreme."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hal import ElementType
from hal_conformance.contract.draft import Ask, Draft
from hal_conformance.contract.families import activation, normalization, reduction
from hal_conformance.contract.families.movement import int64s
from hal_conformance.contract.numbers import is_float, narrow, widen
from hal_conformance.contract.tolerance import EXACT, composed
from hal_conformance.deep.choices import Choices
from hal_conformance.deep.makers import makes

_EPSILON = float(np.float32(1e-5))


@makes(*reduction.REDUCTIONS)
def reduced(ask: Ask, choices: Choices) -> Draft:
    """Any axes from both ends, none, all; kept or dropped; constant or computed."""
    row = reduction.REDUCTIONS[ask.name]
    shape = choices.shape(0, 5, empty=False, most=48 if ask.name == "ReduceProd" else 2048)
    seed, keep = choices.seed(), choices.flag()
    form = choices.one_of(["all", "axes", "noop"])
    axes = choices.axes(len(shape), 1) if form == "axes" and shape else None
    noop = form == "noop"
    x = reduction.drawn(ask, seed, shape, row)
    inputs = [x] if axes is None else [x, int64s(axes)]
    constant = axes is not None and not choices.flag()
    return ask.draft(
        "deep",
        inputs,
        [reduction.reduced(ask, row, x, axes, keep=keep, noop=noop)],
        attributes={"keepdims": int(keep)} | ({"noop_with_empty_axes": 1} if noop else {}),
        tolerance=reduction.sum_tolerance(ask, row, x, axes),
        constants=frozenset({1} if constant else ()),
        dynamic_outputs=axes is not None and not constant,
    )


@makes("ArgMax", "ArgMin")
def arg_extreme(ask: Ask, choices: Choices) -> Draft:
    """Ties by the first or the last."""
    shape = choices.shape(1, 4, empty=False)
    axis = choices.axis(len(shape))
    x = ask.draw(choices.seed()).tensor(ask.element, shape, -1, 2)
    keep, last = choices.number(0, 1), choices.number(0, 1)
    at = axis % len(shape)
    draft = reduction.arg_draft(ask, "deep", x, at, keep, last, ("tensor(int64)",))
    return ask.draft(
        "deep",
        [x],
        draft.runs[0].expected,
        outputs=draft.outputs,
        attributes={**draft.attributes, "axis": axis},
    )


@makes("CumSum", takes=lambda ask: ask.constraint == "T")
def running(ask: Ask, choices: Choices) -> Draft:
    """Inclusive and exclusive, forward and reverse."""
    shape = choices.shape(1, 4, empty=False, most=64)
    axis, exclusive, reverse = choices.axis(len(shape)), choices.flag(), choices.flag()
    x = ask.draw(choices.seed()).tensor(ask.element, shape, 1, 3)
    wide = np.flip(widen(x), axis) if reverse else widen(x)
    result = np.cumsum(wide, axis=axis)
    result = result - wide if exclusive else result
    result = np.flip(result, axis) if reverse else result
    whole = not is_float(ask.element)
    magnitude = 3.0 * shape[axis]
    return ask.draft(
        "deep",
        [x, narrow(np.array(axis), ElementType.INT64)],
        [result],
        attributes={"exclusive": int(exclusive), "reverse": int(reverse)},
        tolerance=EXACT if whole else composed(ask.element, magnitude=magnitude),
    )


@makes(*activation.ALONG_AXIS)
def along_axis(ask: Ask, choices: Choices) -> Draft:
    """Every axis from both ends; many ties, or values far apart."""
    shape = choices.shape(1, 5, empty=False)
    axis = choices.one_of([-1, choices.axis(len(shape))])
    draw, formula = ask.draw(choices.seed()), activation.ALONG_AXIS[ask.name]
    x = draw.tensor(ask.element, shape, -5, 5)
    if choices.flag():
        x = narrow(np.rint(widen(x)), ask.element)
    exact = ask.name == "Hardmax"
    magnitude = 32.0 if ask.name == "LogSoftmax" else 1.0
    return ask.draft(
        "deep",
        [x],
        [formula(widen(x), axis)],
        attributes={"axis": axis},
        tolerance=EXACT if exact else composed(ask.element, magnitude=magnitude),
    )


@makes("LayerNormalization")
def layer_normalization(ask: Ask, choices: Choices) -> Draft:
    """Any axis from both ends, with and without bias, all outputs or the first."""
    shape = (*choices.shape(0, 3, empty=False, most=256), choices.one_of([8, 9, 16, 33]))
    axis, bias = choices.axis(len(shape)), choices.flag()
    draw = ask.draw(choices.seed())
    x = draw.tensor(ask.element, shape, -3, 5)
    tail = shape[axis % len(shape) :]
    scale, offset = draw.tensor(ask.element, tail, -2, 2), draw.tensor(ask.element, tail, -1, 1)
    axes = tuple(range(axis % len(shape), len(shape)))
    normal, _, _ = normalization.standardised(widen(x), axes, _EPSILON)
    result = normal * widen(scale) + (widen(offset) if bias else 0)
    return ask.draft(
        "deep",
        [x, scale, offset] if bias else [x, scale],
        [result],
        attributes={"axis": axis},
        tolerance=normalization.normal_tolerance(ask.element, stashed=True),
    )


@makes("InstanceNormalization", "BatchNormalization")
def channel_normalization(ask: Ask, choices: Choices) -> Draft:
    """Up to three spatial dimensions."""
    batch, channels = choices.number(1, 3), choices.number(1, 5)
    spatial = choices.shape(0, 2, empty=False, most=64)
    shape = (batch, channels, *spatial, choices.one_of([8, 9, 16, 33]))
    draw = ask.draw(choices.seed())
    x = draw.tensor(ask.element, shape, -3, 5)
    scale, bias = (draw.tensor(ask.element, (channels,), 0.5, 2) for _ in range(2))
    wide, along = widen(x), (1, -1) + (1,) * (len(shape) - 2)
    inputs = [x, scale, bias]
    if ask.name == "BatchNormalization":
        stated = [draw.tensor(ask.element, (channels,), 0.5, 3) for _ in range(2)]
        inputs += stated
        mean, variance = (widen(s).reshape(along) for s in stated)
    else:
        axes = tuple(range(2, len(shape)))
        mean, variance = wide.mean(axis=axes, keepdims=True), wide.var(axis=axes, keepdims=True)
    normal = (wide - mean) / np.sqrt(variance + _EPSILON)
    result = normal * widen(scale).reshape(along) + widen(bias).reshape(along)
    # An instance's own variance may be small, and epsilon is float32's or the text's 1e-5.
    tolerance = composed(ask.element, magnitude=8.0)
    if ask.name == "InstanceNormalization":
        tolerance = normalization.normal_tolerance(ask.element)
    return ask.draft("deep", inputs, [result], tolerance=tolerance)


@makes("TopK", takes=lambda ask: ask.constraint == "T")
def top_k(ask: Ask, choices: Choices) -> Draft:
    """Equal values by their index, k from one to all."""
    shape = choices.shape(1, 4, empty=False)
    axis, largest = choices.axis(len(shape)), choices.flag()
    k = choices.number(1, shape[axis])
    x = ask.draw(choices.seed()).tensor(ask.element, shape, -3, 3)
    wide = widen(x)
    ranked = (wide.max() - wide if wide.dtype.kind == "u" else -wide) if largest else wide
    index = np.take(np.argsort(ranked, axis=axis, kind="stable"), range(k), axis=axis)
    settings: dict[str, Any] = {"outputs": (ask.type, "tensor(int64)")}
    return ask.draft(
        "deep",
        [x, int64s([k])],
        [np.take_along_axis(wide, index, axis=axis), index],
        attributes={"axis": axis, "largest": int(largest)},
        constants=frozenset({1}),
        **settings,
    )


@makes("GlobalAveragePool", "GlobalMaxPool")
def global_pool(ask: Ask, choices: Choices) -> Draft:
    """One to three spatial dimensions."""
    shape = (choices.number(1, 3), choices.number(1, 5), *choices.shape(1, 3, empty=False))
    if math.prod(shape) > 4096:
        shape = (1, 1, *shape[2:])
    wide = widen(x := ask.draw(choices.seed()).tensor(ask.element, shape, -3, 3))
    axes, most = tuple(range(2, len(shape))), ask.name == "GlobalMaxPool"
    result = (np.max if most else np.mean)(wide, axis=axes, keepdims=True)
    return ask.draft(
        "deep",
        [x],
        [result],
        tolerance=EXACT if most else composed(ask.element, magnitude=3.0),
        oracle="none",
        reason="onnx 1.23.2's evaluator pools the last two dimensions, however many",
    )
