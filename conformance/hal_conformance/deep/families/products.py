"""Sums of products: matrices, convolutions, and the pooling that slides like them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hal_conformance.contract.draft import Ask, Draft
from hal_conformance.contract.families import linear
from hal_conformance.contract.families._window import Window, window_attributes
from hal_conformance.contract.families.convolution import Conv, convolved
from hal_conformance.contract.families.pooling import max_pooled, pooled
from hal_conformance.contract.numbers import is_float, narrow, widen
from hal_conformance.contract.tolerance import EXACT, accumulated, composed
from hal_conformance.deep.choices import Choices, Unfit
from hal_conformance.deep.makers import makes


@makes("MatMul")
def matmul(ask: Ask, choices: Choices) -> Draft:
    """Vectors on either side, batches that broadcast."""
    rows, terms, columns = choices.extents(3)
    form = choices.one_of(["matrices", "batches", "vector-left", "vector-right"])
    front: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())
    if form == "batches":
        left = choices.shape(0, 2, empty=False, most=8)
        front = (
            left,
            tuple(1 if choices.flag() else e for e in left[choices.number(0, len(left)) :]),
        )
    left = (*front[0], rows, terms) if form != "vector-left" else (terms,)
    right = (*front[1], terms, columns) if form != "vector-right" else (terms,)
    run, magnitude = linear.product(ask, choices.seed(), left, right)
    tolerance = accumulated(ask.element, terms=terms, magnitude=magnitude)
    return ask.draft("deep", run.inputs, run.expected, tolerance=tolerance)


@makes("Gemm")
def gemm(ask: Ask, choices: Choices) -> Draft:
    """Both transpositions, factors, every way in which C broadcasts or is left out."""
    rows, terms, columns = choices.extents(3, empty=False)
    across, down = choices.number(0, 1), choices.number(0, 1)
    bias = choices.one_of([None, (), (columns,), (rows, 1), (1, columns), (rows, columns)])
    whole = not is_float(ask.element)
    alpha = choices.one_of([1.0, 2.0, 3.0] if whole else [1.0, 0.5, 2.0])
    beta = choices.one_of([1.0, 2.0, 0.0])
    draw = ask.draw(choices.seed())
    a = draw.tensor(ask.element, (terms, rows) if across else (rows, terms), -3, 3)
    b = draw.tensor(ask.element, (columns, terms) if down else (terms, columns), -3, 3)
    x, y = (widen(a).T if across else widen(a)), (widen(b).T if down else widen(b))
    result = alpha * np.matmul(x, y)
    rounded = float(np.max(np.abs(result)))
    inputs, magnitude = [a, b], alpha * linear.magnitude_of(x, y)
    if bias is not None:
        inputs.append(draw.tensor(ask.element, bias, -3, 3))
        result, magnitude = result + beta * widen(inputs[2]), magnitude + 3 * beta
    return ask.draft(
        "deep",
        inputs,
        [np.rint(result).astype(np.int64) if whole else result],
        attributes={"transA": across, "transB": down, "alpha": alpha, "beta": beta},
        tolerance=accumulated(
            ask.element, terms=terms + 2, magnitude=magnitude, steps=2.0, rounded=rounded
        ),
    )


def _window(choices: Choices, *, ceil: bool = False) -> tuple[tuple[int, ...], Window]:
    """The spatial extents and a window that fits in them at least once."""
    rank = choices.number(1, 3)
    kernel = tuple(choices.number(1, 3) for _ in range(rank))
    strides = tuple(choices.number(1, 3) for _ in range(rank))
    dilations = tuple(choices.number(1, 3) for _ in range(rank))
    # A window that lies in the padding whole has no mean and no maximum.
    before, after = (tuple(choices.number(0, k - 1) for k in kernel) for _ in range(2))
    extents = []
    for i, k in enumerate(kernel):
        reach = (k - 1) * dilations[i] + 1
        extents.append(max(1, reach - before[i] - after[i]) + choices.number(0, 5))
    cut = ceil and choices.flag()
    return tuple(extents), Window(kernel, strides, dilations, (*before, *after), cut)


@makes("Conv")
def conv(ask: Ask, choices: Choices) -> Draft:
    """One to three dimensions, strides, dilations, unequal pads, groups, bias or none."""
    spatial, window = _window(choices)
    group, inner, made = choices.number(1, 3), choices.number(1, 3), choices.number(1, 3)
    batch, bias = choices.number(1, 2), choices.flag()
    weights = (made * group, inner, *window.kernel)
    row = Conv((batch, inner * group, *spatial), weights, window, group, bias)
    draw = ask.draw(choices.seed())
    inputs = [draw.tensor(ask.element, s, -2, 2) for s in (row.shape, weights)]
    a, b = (widen(x) for x in inputs)
    result, magnitude = convolved(a, b, row), convolved(np.abs(a), np.abs(b), row)
    if bias:
        inputs.append(draw.tensor(ask.element, weights[:1], -2, 2))
        result = result + widen(inputs[2]).reshape((1, -1) + (1,) * len(spatial))
    return ask.draft(
        "deep",
        inputs,
        [result],
        attributes=window_attributes(window) | ({"group": group} if group > 1 else {}),
        tolerance=accumulated(
            ask.element,
            terms=math.prod(weights[1:]) + 1,
            magnitude=float(magnitude.max()) + 2,
            rounded=float(np.abs(result).max()),
        ),
    )


@makes("MaxPool")
def max_pool(ask: Ask, choices: Choices) -> Draft:
    """No two values alike, so that the positions are stated too."""
    spatial, window = _window(choices, ceil=True)
    shape = (1, choices.number(1, 3), *spatial)
    indices = choices.flag()
    order = choices.number(0, 1) if indices else None
    values = np.array(ask.draw(choices.seed()).order(math.prod(shape))).reshape(shape)
    if values.size > (200 if ask.element.bits == 8 else 2048):
        raise Unfit("more values than the type has whole numbers")
    x = narrow(values - (100 if ask.element.name == "INT8" else 0), ask.element)
    results = max_pooled(widen(x), window, order)
    settings: dict[str, Any] = {"storage_order": 1} if order else {}
    return ask.draft(
        "deep",
        [x],
        results if indices else results[:1],
        outputs=(ask.type, "tensor(int64)") if indices else (ask.type,),
        attributes={**window_attributes(window), **settings},
        oracle="none",
        reason="onnx 1.23.2's evaluator takes dilated and cut-off windows in fewer dimensions",
    )


@makes("AveragePool", "LpPool")
def sum_pool(ask: Ask, choices: Choices) -> Draft:
    """With and without the padding in the count; norms of order 1, 2 and 3."""
    spatial, window = _window(choices)
    shape = (1, choices.number(1, 3), *spatial)
    options: list[dict[str, int]] = [{}, {"count_include_pad": 1}]
    if ask.name == "LpPool":
        options = [{}, {"p": 1}, {"p": 3}]
    extra = choices.one_of(options)
    x = ask.draw(choices.seed()).tensor(ask.element, shape, -3, 3)
    return ask.draft(
        "deep",
        [x],
        [pooled(ask.name, widen(x), window, extra)],
        attributes={**window_attributes(window), **extra},
        tolerance=composed(ask.element, magnitude=3.0),
    )


@makes("MatMulInteger")
def matmul_integer(ask: Ask, choices: Choices) -> Draft:
    """With no zero point, one, both."""
    rows, terms, columns = choices.extents(3, empty=False)
    draw = ask.draw(choices.seed())
    signed = ask.element.name == "INT8"
    low, high = (-128, 127) if signed else (0, 255)
    a, b = (draw.tensor(ask.element, s, low, high) for s in ((rows, terms), (terms, columns)))
    points = [draw.tensor(ask.element, (), 1, 9) for _ in range(choices.number(0, 2))]
    x, y = widen(a), widen(b)
    x = x - widen(points[0]) if points else x
    y = y - widen(points[1]) if len(points) > 1 else y
    return ask.draft(
        "deep",
        [a, b, *points],
        [np.matmul(x, y)],
        outputs=("tensor(int32)",),
        tolerance=EXACT,
        oracle="native",
    )
