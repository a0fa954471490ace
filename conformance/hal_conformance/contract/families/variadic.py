"""Elementwise operators of one input to many: Max, Sum, Where, Clip and their kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from hal import ElementType
from hal_conformance.contract.draft import Ask, Draft, generates
from hal_conformance.contract.families.unary import normal_edges
from hal_conformance.contract.numbers import (
    Array,
    is_float,
    is_signed,
    narrow,
    widen,
)
from hal_conformance.contract.tolerance import EXACT, elementary

Shape = tuple[int, ...]
Formula = Callable[[Array, Array], Array]

VARIADIC: Mapping[str, Callable[[Sequence[Array]], Array]] = {
    "Max": lambda xs: _folded(np.maximum, xs),
    "Min": lambda xs: _folded(np.minimum, xs),
    "Sum": lambda xs: _folded(np.add, xs),
    "Mean": lambda xs: _folded(np.add, xs) / len(xs),
}


def _folded(combine: Formula, xs: Sequence[Array]) -> Array:
    result = xs[0]
    for x in xs[1:]:
        result = combine(result, x)
    return np.asarray(result)


@generates(*VARIADIC)
def variadic(ask: Ask) -> Iterator[Draft]:
    """One input, two, three and five, with broadcasting among them."""
    element, formula = ask.element, VARIADIC[ask.name]
    exact = ask.name in ("Max", "Min")
    groups: dict[str, tuple[Shape, ...]] = {
        "one": ((2, 3),),
        "three": ((2, 3), (3,), (2, 1)),
        "two": ((4, 1, 3), (2, 1)),
    }
    if ask.full:
        groups |= {
            "five": ((3,), (1,), (), (2, 3), (4, 2, 1)),
            "empty": ((0, 3), (3,)),
            "scalars": ((), ()),
            "same": ((3, 5, 7), (3, 5, 7)),
        }
    for slug, shapes in groups.items():
        draw = ask.draw(slug)
        xs = [draw.tensor(element, shape, -9, 9) for shape in shapes]
        # Terms may cancel: the error is one of the terms, not of their sum.
        tolerance = EXACT if exact else elementary(element, ask.name, absolute=9.0 * len(xs))
        yield ask.draft(slug, xs, [formula([widen(x) for x in xs])], tolerance=tolerance)
    if exact:
        values = normal_edges(element)
        values = values[values != 0] if is_float(element) else values
        a, b = narrow(values[:, None], element), narrow(values[None, :], element)
        yield ask.draft("edges", [a, b], [formula([widen(a), widen(b)])])
    elif is_float(element):  # what the larger of NaN and a number is, the standard does not say
        values = np.array([np.nan, 1.0, -1.0])
        a, b = narrow(values[:, None], element), narrow(values[None, :], element)
        expected = formula([widen(a), widen(b)])
        yield ask.draft("nan", [a, b], [expected], tolerance=elementary(element, ask.name))


@generates("PRelu")
def prelu(ask: Ask) -> Iterator[Draft]:
    """PRelu: the slope broadcasts to the input, one way only."""
    element = ask.element
    shapes = {"same": ((3, 4, 5), (3, 4, 5)), "channel": ((2, 3, 4), (3, 1)), "one": ((2, 3), (1,))}
    if ask.full:
        shapes |= {"scalar": ((2, 3), ()), "empty": ((0, 3), (3,))}
    for slug, (shape, slope) in shapes.items():
        draw = ask.draw(slug)
        x, s = draw.tensor(element, shape, -9, 9), draw.tensor(element, slope, -3, 3)
        wide, factor = widen(x), widen(s)
        expected = np.where(wide < 0, wide * factor, wide)
        yield ask.draft(slug, [x, s], [expected], tolerance=elementary(element, "Mul"))


@generates("Where")
def where(ask: Ask) -> Iterator[Draft]:
    """Three inputs that broadcast against each other; whatever is not chosen has no effect."""
    if ask.constraint != "T":
        return
    element = ask.element
    groups: dict[str, tuple[Shape, Shape, Shape]] = {
        "same": ((3, 4, 5), (3, 4, 5), (3, 4, 5)),
        "all": ((4, 1, 1), (3, 1), (2,)),
    }
    if ask.full:
        groups |= {
            "scalar-condition": ((), (2, 3), (2, 3)),
            "scalar-values": ((2, 3), (), ()),
            "row": ((3,), (2, 3), (1,)),
            "empty": ((0, 3), (1, 3), (3,)),
            "rank5": ((2, 1, 3, 1, 2), (3, 1, 4, 1), (1,)),
        }
    for slug, shapes in groups.items():
        draw = ask.draw(slug)
        c = draw.tensor(ElementType.BOOL, shapes[0])
        x, y = draw.tensor(element, shapes[1]), draw.tensor(element, shapes[2])
        yield ask.draft(
            slug,
            [c, x, y],
            [np.where(widen(c), widen(x), widen(y))],
            oracle="none" if element is ElementType.STRING else "widened",
            reason="the evaluator cuts strings to the longest one of X",
        )
    if is_float(element):
        c = narrow(np.array([True, False, True]), ElementType.BOOL)
        x, y = (
            narrow(np.array([1.0, np.nan, np.inf]), element),
            narrow([np.inf, 2.0, np.nan], element),
        )
        yield ask.draft("nan", [c, x, y], [np.where(widen(c), widen(x), widen(y))])


@generates("Clip")
def clip(ask: Ask) -> Iterator[Draft]:
    """Each bound present and absent; a lower bound above the upper one; infinities."""
    element = ask.element
    values = ask.draw("x").tensor(element, (3, 4, 5), -20, 20)
    low, high = narrow(np.array(-5 if is_signed(element) else 3), element), narrow(7, element)
    x, a, b = widen(values), widen(low), widen(high)
    yield ask.draft("both", [values, low, high], [np.minimum(np.maximum(x, a), b)])
    yield ask.draft("min", [values, low], [np.maximum(x, a)])
    yield ask.draft("max", [values, None, high], [np.minimum(x, b)])
    yield ask.draft("none", [values], [x])
    yield ask.draft("crossed", [values, high, low], [np.full_like(x, a)])
    if is_float(element):
        tensor = narrow(np.array([-np.inf, np.inf, 0.0, 6.5]), element)
        expected = np.minimum(np.maximum(widen(tensor), a), b)
        yield ask.draft("infinite", [tensor, low, high], [expected])
    if ask.full:
        empty = narrow(np.zeros((0, 3)), element)
        yield ask.draft("empty", [empty, low, high], [np.zeros((0, 3))])
        scalar = narrow(9.0, element)
        yield ask.draft("scalar", [scalar, low, high], [np.array(7.0)])
