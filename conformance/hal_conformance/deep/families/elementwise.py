"""Elementwise operators: any shapes that broadcast, ordinary values and extreme ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from hal import ElementType, Tensor
from hal_conformance.contract.draft import Ask, Draft
from hal_conformance.contract.draw import edges
from hal_conformance.contract.families import activation, binary, unary, variadic
from hal_conformance.contract.numbers import Array, bounds, is_float, is_integer, narrow, widen
from hal_conformance.contract.tolerance import EXACT, elementary
from hal_conformance.deep.choices import Choices, Shape
from hal_conformance.deep.makers import makes

__all__ = ["picked"]


def picked(ask: Ask, slug: str, values: Array, shape: Shape) -> Tensor:
    """A tensor whose elements are some of these values."""
    places = ask.draw(slug).integers(shape, 0, len(values) - 1)
    return narrow(np.asarray(values)[places], ask.element)


def _one_input(ask: Ask, choices: Choices, row: unary.Unary, **settings: Any) -> Draft:
    shape, seed, element = choices.shape(0, 5), choices.seed(), ask.element
    kinds = ["drawn", "edges", *(["nan"] if row.nan and is_float(element) else [])]
    kind = choices.one_of(kinds)
    if kind == "drawn":
        x = ask.draw(seed).tensor(element, shape, *unary.interval(row, element))
    else:
        values = unary.edge_values(row, element)
        values = np.append(values, np.nan) if kind == "nan" else values
        x = picked(ask, seed, values, shape)
    return ask.draft(
        "deep",
        [x],
        [unary.applied(row, widen(x))],
        tolerance=row.tolerance(element, ask.name),
        reference_error=row.reference_error,
        **settings,
    )


@makes(*unary.FUNCTIONS)
def function(ask: Ask, choices: Choices) -> Draft:
    """A mathematical function."""
    return _one_input(ask, choices, unary.FUNCTIONS[ask.name])


@makes(*activation.VARIANTS)
def activated(ask: Ask, choices: Choices) -> Draft:
    """An activation, at its default attributes or away from them."""
    formula, variants = activation.VARIANTS[ask.name]
    attributes = choices.one_of(variants)
    row = activation.Composed(
        lambda x: formula(x, **attributes),
        -6,
        6,
        limit=20,
        nan=ask.name in activation.WITH_NAN,
        reference_error=1e-6,
    )
    return _one_input(ask, choices, row, attributes=dict(attributes))


@makes("Relu")
def relu(ask: Ask, choices: Choices) -> Draft:
    """Of max(0, NaN) the standard says nothing."""
    row = unary.Unary(lambda x: np.maximum(x, 0), nan=False, exact=True)
    return _one_input(ask, choices, row)


@makes(*binary.ARITHMETIC)
def arithmetic(ask: Ask, choices: Choices) -> Draft:
    """Broadcasting in every way; real numbers also at the extremes."""
    left, right = choices.broadcast()
    seed, formula = choices.seed(), binary.ARITHMETIC[ask.name]
    tolerance = elementary(ask.element, ask.name)
    if is_float(ask.element) and choices.flag():
        values = unary.normal_edges(ask.element)
        a, b = (picked(ask, seed + side, values, s) for side, s in (("a", left), ("b", right)))
        run = binary.paired(a, b, formula)
    else:
        run = binary.drawn_run(ask, seed, left, right, formula)
    return ask.draft("deep", run.inputs, run.expected, tolerance=tolerance)


@makes(*binary.COMPARISONS, *binary.LOGIC)
def comparison(ask: Ask, choices: Choices) -> Draft:
    """Many equal pairs, or extremes against each other."""
    left, right = choices.broadcast()
    seed, element = choices.seed(), ask.element
    compares = ask.name in binary.COMPARISONS
    formula = binary.COMPARISONS[ask.name] if compares else binary.LOGIC[ask.name]
    values = unary.normal_edges(element) if compares else edges(element)
    if choices.flag():
        a, b = (picked(ask, seed + side, values, s) for side, s in (("a", left), ("b", right)))
    else:
        draw, (low, high) = ask.draw(seed), (-2, 2) if compares else (0, 100)
        a, b = draw.tensor(element, left, low, high), draw.tensor(element, right, low, high)
    run = binary.paired(a, b, formula)
    output = "tensor(bool)" if compares else ask.type
    return ask.draft("deep", run.inputs, run.expected, outputs=[output])


@makes(*variadic.VARIADIC)
def variadic_(ask: Ask, choices: Choices) -> Draft:
    """One input to four."""
    shapes = list(choices.broadcast())[: choices.number(1, 2)]
    shapes += [shapes[0], ()][: choices.number(0, 2)]
    draw, element = ask.draw(choices.seed()), ask.element
    xs = [draw.tensor(element, shape, -9, 9) for shape in shapes]
    exact = ask.name in ("Max", "Min")
    tolerance = EXACT if exact else elementary(element, ask.name, absolute=9.0 * len(xs))
    expected = variadic.VARIADIC[ask.name]([widen(x) for x in xs])
    return ask.draft("deep", xs, [expected], tolerance=tolerance)


@makes("Where", takes=lambda ask: ask.constraint == "T")
def where(ask: Ask, choices: Choices) -> Draft:
    """Three shapes that broadcast to one."""
    left, right = choices.broadcast()
    draw, element = ask.draw(choices.seed()), ask.element
    mask = draw.tensor(ElementType.BOOL, choices.one_of([left, right, ()]))
    a, b = draw.tensor(element, left, -9, 9), draw.tensor(element, right, -9, 9)
    expected = np.where(widen(mask), widen(a), widen(b))
    return ask.draft("deep", [mask, a, b], [expected])


@makes("Clip")
def clip(ask: Ask, choices: Choices) -> Draft:
    """Either bound, both, none."""
    element, shape = ask.element, choices.shape(0, 5)
    low, high = (0, 7) if is_integer(element) and not bounds(element)[0] else (-3, 4)
    x = ask.draw(choices.seed()).tensor(element, shape, -9, 9)
    given = [choices.flag(), choices.flag()]
    limits = [
        narrow(np.array(v), element) if g else None for g, v in zip(given, (low, high), strict=True)
    ]
    result = widen(x)
    result = np.maximum(result, result.dtype.type(low)) if given[0] else result
    result = np.minimum(result, result.dtype.type(high)) if given[1] else result
    inputs = [x, *(limits if given[1] else limits[:1] if given[0] else [])]
    return ask.draft("deep", inputs, [result])
