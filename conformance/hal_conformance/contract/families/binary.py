"""Elementwise operators of several inputs: arithmetic, comparison, logic, bits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from hal import ElementType, Tensor
from hal_conformance.contract.draft import Ask, Draft, Run, generates
from hal_conformance.contract.draw import edges
from hal_conformance.contract.families.unary import normal_edges
from hal_conformance.contract.numbers import (
    Array,
    bounds,
    is_float,
    is_integer,
    is_signed,
    narrow,
    widen,
)
from hal_conformance.contract.tolerance import Tolerance, elementary

Shape = tuple[int, ...]
Formula = Callable[[Array, Array], Array]

_FULL: Mapping[str, tuple[Shape, Shape]] = {
    "same": ((3, 5, 7), (3, 5, 7)),
    "scalar-left": ((), (2, 3)),
    "scalar-right": ((2, 3), ()),
    "scalars": ((), ()),
    "row": ((3, 4, 5), (5,)),
    "row-left": ((5,), (3, 4, 5)),
    "column": ((3, 4, 5), (3, 4, 1)),
    "channel": ((2, 3, 4, 5), (3, 1, 1)),
    "both": ((4, 1, 3), (2, 1)),
    "rank5": ((2, 1, 3, 1, 2), (3, 1, 4, 1)),
    "empty": ((2, 0, 3), (1, 3)),
    "one-against-none": ((1,), (0,)),
}
_FEW: Mapping[str, tuple[Shape, Shape]] = {
    "same": ((3, 4, 5), (3, 4, 5)),
    "both": ((4, 1, 3), (2, 1)),
}


def _truncated(a: Array, b: Array) -> Array:
    """Division of integers towards zero, in exact arithmetic."""
    if a.dtype.kind == "f":
        return np.divide(a, b)
    x, y = a.astype(object), b.astype(object)
    quotient = np.abs(x) // np.abs(y)
    return np.asarray(np.where((x < 0) != (y < 0), -quotient, quotient))


ARITHMETIC: Mapping[str, Formula] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": _truncated,
}


@generates(*ARITHMETIC)
def arithmetic(ask: Ask) -> Iterator[Draft]:
    """Add, Sub, Mul and Div. Integers stay within their range: of overflow the standard says
    nothing."""
    element, formula = ask.element, ARITHMETIC[ask.name]
    tolerance = elementary(element, ask.name)
    for slug, (left, right) in _shapes(ask).items():
        run = drawn_run(ask, slug, left, right, formula)
        yield Draft(slug=slug, runs=(run,), outputs=(ask.type,), tolerance=tolerance)
    if is_float(element):
        yield _special(ask, "edges", normal_edges(element), formula, tolerance)
        values = np.array([np.nan, 1.0, 0.0, -2.0])
        yield _special(ask, "nan", values, formula, tolerance)
    else:
        yield _extremes(ask, formula)
    if ask.full:
        pairs = (((2, 3), (2, 3)), ((4, 1), (1, 5)), ((1, 3), (6, 3)), ((2, 3), (2, 3)))
        runs = tuple(
            drawn_run(ask, f"symbolic{i}", a, b, formula) for i, (a, b) in enumerate(pairs)
        )
        yield Draft(slug="symbolic", runs=runs, outputs=(ask.type,), tolerance=tolerance)


def _shapes(ask: Ask) -> Mapping[str, tuple[Shape, Shape]]:
    return _FULL if ask.full else _FEW


def drawn_run(ask: Ask, slug: str, left: Shape, right: Shape, formula: Formula) -> Run:
    draw, element = ask.draw(slug), ask.element
    low, high = _interval(element)
    a, b = draw.tensor(element, left, low, high), draw.tensor(element, right, low, high)
    if is_integer(element):
        if ask.name == "Sub" and not is_signed(element):
            a = narrow(widen(a) + np.asarray(int(high), widen(a).dtype), element)
        if ask.name == "Div":
            a = draw.tensor(element, left, low * 9, high * 9)
            b = narrow(np.where(widen(b) == 0, 3, widen(b)), element)
    elif ask.name == "Div":
        b = narrow(np.where(np.abs(widen(b)) < 0.1, 0.75, widen(b)), element)
    return paired(a, b, formula)


def _interval(element: ElementType) -> tuple[float, float]:
    if is_integer(element):
        return (-11, 11) if is_signed(element) else (0, 11)
    return (-8, 8)


def paired(a: Tensor, b: Tensor, formula: Formula) -> Run:
    with np.errstate(all="ignore"):
        return Run((a, b), (formula(widen(a), widen(b)),))


def _special(ask: Ask, slug: str, values: Array, formula: Formula, tolerance: Tolerance) -> Draft:
    """Every value against every other."""
    a, b = narrow(values[:, None], ask.element), narrow(values[None, :], ask.element)
    run = paired(a, b, formula)
    return Draft(slug=slug, runs=(run,), outputs=(ask.type,), tolerance=tolerance)


def _extremes(ask: Ask, formula: Formula) -> Draft:
    """The pairs of extreme integers whose result the type holds."""
    low, high = bounds(ask.element)
    values = sorted({low, low + 1, -7, -1, 0, 1, 2, 7, high // 2, high - 1, high})
    values = [v for v in values if low <= v <= high]
    rows = []
    for a in values:
        for b in values:
            if ask.name == "Div" and b == 0:
                continue
            result = formula(np.array([a], object), np.array([b], object))[0]
            if low <= result <= high:
                rows.append((a, b, result))
    kind = np.uint64 if ask.element is ElementType.UINT64 else np.int64
    left, right, results = (np.array(column, dtype=kind) for column in zip(*rows, strict=True))
    inputs = [narrow(left, ask.element), narrow(right, ask.element)]
    return ask.draft("extremes", inputs, [results])


COMPARISONS: Mapping[str, Formula] = {
    "Equal": np.equal,
    "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal,
    "Less": np.less,
    "LessOrEqual": np.less_equal,
}


@generates(*COMPARISONS)
def comparison(ask: Ask) -> Iterator[Draft]:
    """Comparisons: many equal pairs, neighbours at the extremes, infinities, NaN."""
    if not ask.first:
        return
    element, formula = ask.element, COMPARISONS[ask.name]
    bool_ = ("tensor(bool)",)
    for slug, (left, right) in _shapes(ask).items():
        draw = ask.draw(slug)
        run = paired(draw.tensor(element, left, -2, 2), draw.tensor(element, right, -2, 2), formula)
        yield Draft(slug=slug, runs=(run,), outputs=bool_)
    values = normal_edges(element)
    a, b = narrow(values[:, None], element), narrow(values[None, :], element)
    yield Draft(slug="edges", runs=(paired(a, b, formula),), outputs=bool_)
    if is_float(element):
        values = np.array([np.nan, 0.0, 1.0, np.inf])
        a, b = narrow(values[:, None], element), narrow(values[None, :], element)
        yield Draft(slug="nan", runs=(paired(a, b, formula),), outputs=bool_)


LOGIC: Mapping[str, Formula] = {
    "And": np.logical_and,
    "Or": np.logical_or,
    "Xor": np.logical_xor,
    "BitwiseAnd": np.bitwise_and,
    "BitwiseOr": np.bitwise_or,
    "BitwiseXor": np.bitwise_xor,
}


@generates(*LOGIC)
def logic(ask: Ask) -> Iterator[Draft]:
    """Logical and bitwise operators."""
    if not ask.first:
        return
    element, formula = ask.element, LOGIC[ask.name]
    for slug, (left, right) in _shapes(ask).items():
        draw = ask.draw(slug)
        low, high = (0, 1) if element is ElementType.BOOL else bounds(element)
        low, high = max(low, -(1 << 31)), min(high, (1 << 31) - 1)
        a, b = draw.tensor(element, left, low, high), draw.tensor(element, right, low, high)
        yield Draft(slug=slug, runs=(paired(a, b, formula),), outputs=(ask.type,))
    values = edges(element)
    a, b = narrow(values[:, None], element), narrow(values[None, :], element)
    yield Draft(slug="edges", runs=(paired(a, b, formula),), outputs=(ask.type,))


@generates("BitShift")
def shift(ask: Ask) -> Iterator[Draft]:
    """Both directions, broadcasting, amounts of none, all and more bits, negative amounts."""
    element = ask.element
    bits, (low, high) = element.bits, bounds(element)

    def shifted(a: Array, b: Array, direction: str) -> Array:
        def one(x: int, y: int) -> int:
            if y < 0 or y >= bits:
                return -1 if direction == "RIGHT" and x < 0 else 0
            moved = x >> y if direction == "RIGHT" else x << y
            moved &= (1 << bits) - 1
            return moved - (1 << bits) if moved > high else moved

        results = np.vectorize(one, otypes=[object])(a.astype(object), b.astype(object))
        return np.asarray(results, np.uint64 if element is ElementType.UINT64 else np.int64)

    for direction in ("LEFT", "RIGHT"):
        for slug, (left, right) in _FEW.items():
            draw = ask.draw(f"{slug}-{direction}")
            a = draw.tensor(element, left, -100, 100)
            b = narrow(draw.integers(right, 0, bits - 1), element)
            yield ask.draft(
                f"{slug}-{direction.lower()}",
                [a, b],
                [shifted(widen(a), widen(b), direction)],
                attributes={"direction": direction},
            )
        amounts = np.array([0, 1, bits - 1, bits, bits + 1, *([-1, -bits] if low < 0 else [])])
        a, b = narrow(edges(element)[:, None], element), narrow(amounts[None, :], element)
        yield ask.draft(
            f"edges-{direction.lower()}",
            [a, b],
            [shifted(widen(a), widen(b), direction)],
            attributes={"direction": direction},
        )


@generates("Mod")
def modulo(ask: Ask) -> Iterator[Draft]:
    """Both roundings of the quotient, with every combination of signs."""
    element = ask.element
    for fmod in (0, 1):
        formula = np.fmod if fmod else np.mod
        for slug, (left, right) in _FEW.items():
            name = f"{slug}-fmod{fmod}"
            draw = ask.draw(name)
            low, high = (-50, 50) if is_signed(element) else (0, 50)
            a, b = draw.tensor(element, left, low, high), draw.tensor(element, right, low / 5, 10)
            if is_integer(element):
                b = narrow(np.where(widen(b) == 0, 7, widen(b)), element)
            else:
                # Quotients with a whole number of quarters: no rounding decides the result.
                a, b = (narrow(np.round(widen(t) * 4) / 4, element) for t in (a, b))
                b = narrow(np.where(widen(b) == 0, 1.25, widen(b)), element)
            run = paired(a, b, formula)
            attributes = {"fmod": fmod}
            yield Draft(slug=name, runs=(run,), outputs=(ask.type,), attributes=attributes)
        if is_float(element):
            values = np.array([0.0, 1.0, -1.0, 5.5, np.inf, -np.inf, np.nan])
            a, b = narrow(values[:, None], element), narrow(values[None, :], element)
            # The standard's own words give more than IEEE 754's fmod: x mod inf keeps its sign
            # rule, and NaN wherever it says so; NumPy follows both.
            run = paired(a, b, formula)
            yield Draft(
                slug=f"edges-fmod{fmod}",
                runs=(run,),
                outputs=(ask.type,),
                attributes={"fmod": fmod},
            )


@generates("Pow")
def power(ask: Ask) -> Iterator[Draft]:
    """Every base type with an exponent of every type; negative bases with whole exponents."""
    if ask.constraint == "T":
        exponents = ["tensor(float)", ask.type] if ask.full else [ask.type]
        for exponent in dict.fromkeys(exponents):
            yield from _powers(ask, ask.element, ElementType.from_onnx_name(exponent[7:-1]))
    elif ask.type not in ask.types("T"):
        yield from _powers(ask, ElementType.FLOAT, ask.element)


def _powers(ask: Ask, base: ElementType, exponent: ElementType) -> Iterator[Draft]:
    name = f"to-{exponent.onnx_name}"
    tolerance = elementary(base, "Pow")
    output = (f"tensor({base.onnx_name})",)
    for slug, (left, right) in _shapes(ask).items():
        draw = ask.draw(f"{slug}-{name}")
        if is_integer(base):
            a = draw.tensor(base, left, -5, 5)
            b = draw.tensor(exponent, right, 0, 4)
            if is_float(exponent):
                b = narrow(np.round(np.abs(widen(b))), exponent)
        else:
            a = draw.tensor(base, left, 0.25, 4)
            b = draw.tensor(exponent, right, -3, 3)
        run = _power_run(a, b)
        yield Draft(slug=f"{slug}-{name}", runs=(run,), outputs=output, tolerance=tolerance)
    if is_float(base):
        a = narrow(np.array([-2.0, -1.0, -0.5, 0.0, 1.0, 3.0])[:, None], base)
        whole = [0, 1, 2, 3] if not is_signed(exponent) else [-2, -1, 0, 1, 2, 3]
        b = narrow(np.array(whole)[None, :], exponent)
        run = _power_run(a, b)
        yield Draft(slug=f"whole-{name}", runs=(run,), outputs=output, tolerance=tolerance)


def _power_run(a: Tensor, b: Tensor) -> Run:
    with np.errstate(all="ignore"):
        x, y = widen(a), widen(b)
        result = np.power(x.astype(np.float64), y.astype(np.float64))
        return Run((a, b), (result if x.dtype.kind == "f" else np.rint(result).astype(np.int64),))
