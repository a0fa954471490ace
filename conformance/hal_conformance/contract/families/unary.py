"""Elementwise operators of one input: mathematical functions, rounding, signs, tests of a value."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from hal import ElementType
from hal_conformance.contract.draft import Ask, Draft, Run, generates
from hal_conformance.contract.draw import edges, has_infinity
from hal_conformance.contract.numbers import (
    Array,
    bounds,
    is_float,
    is_integer,
    largest,
    narrow,
    smallest_normal,
    widen,
)
from hal_conformance.contract.tolerance import EXACT, Tolerance, elementary

__all__ = [
    "FUNCTIONS",
    "Unary",
    "applied",
    "edge_values",
    "interval",
    "normal_edges",
    "unary_drafts",
]

Formula = Callable[[Array], Array]

_SHAPES: Mapping[str, tuple[int, ...]] = {
    "scalar": (),
    "vector": (37,),
    "rank5": (2, 1, 3, 2, 4),
    "empty": (3, 0, 2),
}


@dataclasses.dataclass(frozen=True)
class Unary:
    """A function: its formula in float64 or exact integers, the interval from which values are
    drawn, the bound of edge values (None: all of them), whether NaN gives NaN by the standard's
    words, and whether it is exact."""

    formula: Formula
    low: float = -4.0
    high: float = 4.0
    limit: float | None = None
    nan: bool = True
    exact: bool = False
    absolute: float = 0.0
    reference_error: float = 0.0

    def tolerance(self, element: ElementType, name: str) -> Tolerance:
        """See `tolerance.elementary`."""
        return EXACT if self.exact else elementary(element, name, absolute=self.absolute)


def _round_half_even(x: Array) -> Array:
    return np.rint(x)


def _reciprocal(x: Array) -> Array:
    return np.divide(1.0, x)


_erf = np.vectorize(math.erf, otypes=[float])

FUNCTIONS: Mapping[str, Unary] = {
    "Abs": Unary(np.abs, exact=True),
    "Neg": Unary(np.negative, exact=True),
    # The standard defines Sign by three comparisons, none of which holds for NaN.
    "Sign": Unary(np.sign, nan=False, exact=True),
    "Ceil": Unary(np.ceil, exact=True),
    "Floor": Unary(np.floor, exact=True),
    "Round": Unary(_round_half_even, exact=True),
    "Exp": Unary(np.exp, -20, 20),
    "Log": Unary(np.log, 1e-3, 1e3, absolute=1.0),
    "Sqrt": Unary(np.sqrt, 0, 1e4),
    "Reciprocal": Unary(_reciprocal, -30, 30),
    # Arguments stay small enough that a reduction by pi in the type itself has no say.
    "Sin": Unary(np.sin, -30, 30, limit=10, absolute=1.0),
    "Cos": Unary(np.cos, -30, 30, limit=10, absolute=1.0),
    "Tan": Unary(np.tan, -1.5, 1.5, limit=1.5, absolute=1.0),
    "Asin": Unary(np.arcsin, -1, 1),
    "Acos": Unary(np.arccos, -1, 1, absolute=1.0),
    "Atan": Unary(np.arctan, -20, 20),
    "Sinh": Unary(np.sinh, -8, 8),
    "Cosh": Unary(np.cosh, -8, 8),
    "Tanh": Unary(np.tanh, -6, 6),
    "Asinh": Unary(np.arcsinh, -20, 20, limit=1e4),
    "Acosh": Unary(np.arccosh, 1, 50, limit=1e4, absolute=1.0),
    "Atanh": Unary(np.arctanh, -0.99, 0.99, limit=1),
    # The evaluator has a polynomial of float32 accuracy.
    "Erf": Unary(_erf, -4, 4, reference_error=1e-7),
}


@generates(*FUNCTIONS)
def function(ask: Ask) -> Iterator[Draft]:
    """A mathematical function of one tensor."""
    row = FUNCTIONS[ask.name]
    yield from unary_drafts(ask, row)


def unary_drafts(
    ask: Ask, row: Unary, attributes: Mapping[str, object] | None = None, suffix: str = ""
) -> Iterator[Draft]:
    """The drafts of an elementwise function: drawn values, edge values, NaN, and for the type that
    gets every variant scalars, odd lengths, five dimensions, none at all, and symbolic sizes."""
    element = ask.element
    tolerance = row.tolerance(element, ask.name)
    settings: dict[str, Any] = {
        "attributes": dict(attributes or {}),
        "tolerance": tolerance,
        "reference_error": row.reference_error,
    }

    def run(slug: str, shape: tuple[int, ...]) -> Run:
        x = ask.draw(f"{slug}{shape}").tensor(element, shape, *interval(row, element))
        return Run((x,), (applied(row, widen(x)),))

    def single(slug: str, shape: tuple[int, ...]) -> Draft:
        return Draft(slug=slug, runs=(run(slug, shape),), outputs=(ask.type,), **settings)

    yield single(f"values{suffix}", (3, 5, 7))
    x = narrow(edge_values(row, element), element)
    yield ask.draft(f"edges{suffix}", [x], [applied(row, widen(x))], **settings)
    if row.nan and is_float(element):
        values = np.array([np.nan, 1.0, np.nan, -1.0, 0.5, np.nan])
        if row.low >= 0:
            values = np.abs(values)
        x = narrow(values, element)
        yield ask.draft(f"nan{suffix}", [x], [applied(row, widen(x))], **settings)
    if not ask.full or suffix:
        return
    for slug, shape in _SHAPES.items():
        yield single(slug, shape)
    runs = tuple(run("symbolic", shape) for shape in ((2, 3), (5, 1), (1, 17), (2, 3)))
    yield Draft(slug="symbolic", runs=runs, outputs=(ask.type,), **settings)


def normal_edges(element: ElementType) -> Array:
    """Edge values without the subnormals, which a device may flush to zero before it computes."""
    values = edges(element)
    if not is_float(element):
        return values
    return np.asarray(values[(values == 0) | (np.abs(values) >= smallest_normal(element))])


def interval(row: Unary, element: ElementType) -> tuple[float, float]:
    if is_integer(element):
        return (-100, 100)
    top = largest(element)
    return max(row.low, -top), min(row.high, top)


def edge_values(row: Unary, element: ElementType) -> Array:
    if is_integer(element):
        values = edges(element)
        # |lowest| and -lowest do not fit, and the standard does not say what comes instead.
        lowest = bounds(element)[0]
        return values[values != lowest] if lowest < 0 and row.formula is not np.sign else values
    keep_all = row.formula in (np.abs, np.negative)
    values = edges(element) if keep_all else normal_edges(element)
    if row.limit is not None:
        values = values[np.abs(values) <= row.limit]
    return values


def applied(row: Unary, x: Array) -> Array:
    with np.errstate(all="ignore"):
        return row.formula(x)


@generates("IsNaN", "IsInf")
def test_of_value(ask: Ask) -> Iterator[Draft]:
    """IsNaN and IsInf, with each combination of the signs that IsInf looks for."""
    if not ask.first:
        return
    element = ask.element
    x = narrow(edges(element, nan=True), element)
    wide = widen(x)
    bool_ = ("tensor(bool)",)
    if ask.name == "IsNaN":
        for slug, values in (("values", wide), ("rank3", np.tile(wide, (3, 2, 1)))):
            tensor = narrow(values, element)
            yield ask.draft(slug, [tensor], [np.isnan(widen(tensor))], outputs=bool_)
    else:
        for negative in (0, 1):
            for positive in (0, 1):
                attributes = {"detect_negative": negative, "detect_positive": positive}
                found = (np.isposinf(wide) & bool(positive)) | (np.isneginf(wide) & bool(negative))
                slug = f"negative{negative}-positive{positive}"
                yield ask.draft(slug, [x], [found], outputs=bool_, attributes=attributes)
        if has_infinity(element):
            yield ask.draft("default", [x], [np.isinf(wide)], outputs=bool_)
    empty = narrow(np.zeros((0, 2)), element)
    yield ask.draft("empty", [empty], [np.zeros((0, 2), bool)], outputs=bool_)


@generates("Not", "BitwiseNot")
def negation(ask: Ask) -> Iterator[Draft]:
    """Logical and bitwise negation."""
    element = ask.element
    values = ask.draw("values").tensor(element, (3, 4, 5), -100, 100)
    for slug, x in (("values", values), ("edges", narrow(edges(element), element))):
        wide = widen(x)
        if element is ElementType.BOOL:
            result = ~wide
        else:
            low, high = bounds(element)
            result = -1 - wide if low < 0 else np.asarray(high, wide.dtype) - wide
        yield ask.draft(slug, [x], [result])
    scalar = ask.draw("scalar").tensor(element, (), 0, 1)
    wide = widen(scalar)
    if element is ElementType.BOOL:
        yield ask.draft("scalar", [scalar], [~wide])
