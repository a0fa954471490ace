"""Conversions between types: Cast and CastLike over all pairs, BitCast over equal widths."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np

from hal import ElementType, Tensor
from hal_conformance.contract.draft import Ask, Draft, generates
from hal_conformance.contract.draw import edges, has_infinity
from hal_conformance.contract.numbers import (
    Array,
    bounds,
    is_float,
    is_integer,
    is_signed,
    largest,
    narrow,
    smallest_normal,
    widen,
)

_FLOAT8 = frozenset(
    {
        ElementType.FLOAT8E4M3FN,
        ElementType.FLOAT8E4M3FNUZ,
        ElementType.FLOAT8E5M2,
        ElementType.FLOAT8E5M2FNUZ,
    }
)
_MINIATURE = frozenset({ElementType.FLOAT4E2M1, ElementType.FLOAT6E2M3, ElementType.FLOAT6E3M2})
_E8M0 = ElementType.FLOAT8E8M0
_STRING = ElementType.STRING


@generates("Cast", "CastLike")
def cast(ask: Ask) -> Iterator[Draft]:
    """Every pair of types, over the values whose conversion the standard states."""
    if not ask.first:
        return
    for target in _targets(ask):
        yield from _pair(ask, ask.element, target)
        if target in _FLOAT8 and is_float(ask.element) and ask.element.bits >= 16:
            yield from _unsaturated(ask, ask.element, target)


@generates("Cast", "CastLike")
def powers_of_two(ask: Ask) -> Iterator[Draft]:
    """To the type that holds nothing else: up by default, down, and to the nearest."""
    if not ask.first or not ask.full:
        return
    x = narrow(np.array([1.0, 1.25, 1.5, 1.75, 3.0, 0.3, 5.0, 64.0]), ask.element)
    base = np.exp2(np.floor(np.log2(widen(x))))
    share = widen(x) / base
    for mode, above in (
        (None, share > 1),
        ("up", share > 1),
        ("down", share > 2),
        ("nearest", share >= 1.5),
    ):
        like = [narrow(np.array([1.0]), _E8M0)] if ask.name == "CastLike" else []
        attributes: dict[str, Any] = {} if ask.name == "CastLike" else {"to": int(_E8M0)}
        yield ask.draft(
            f"powers-{mode or 'default'}",
            [x, *like],
            [np.where(above, base * 2, base)],
            outputs=("tensor(float8e8m0)",),
            attributes=attributes if mode is None else {**attributes, "round_mode": mode},
            oracle="native",
        )


def _targets(ask: Ask) -> list[ElementType]:
    return [ElementType.from_onnx_name(t[7:-1]) for t in ask.types("T2")]


def _pair(ask: Ask, source: ElementType, target: ElementType) -> Iterator[Draft]:
    values = values_for(source, target)
    if not len(values):
        return
    x = narrow(values, source)
    expected = converted(widen(x), source, target)
    yield _draft(ask, f"to-{target.onnx_name}", x, target, expected)


def _unsaturated(ask: Ask, source: ElementType, target: ElementType) -> Iterator[Draft]:
    top = largest(target)
    values = np.array([0.0, 1.0, -1.5, top, -top, top * 1.5, -top * 1.5, np.inf, -np.inf, np.nan])
    x = narrow(values[np.abs(values) <= largest(source)] if top > 3e4 else values, source)
    expected = narrow(_unsaturating(widen(x), target), target)
    slug = f"to-{target.onnx_name}-unsaturated"
    yield _draft(ask, slug, x, target, expected, {"saturate": 0})


def _unsaturating(x: Array, target: ElementType) -> Array:
    """Out of range is infinite in E5M2, and NaN where the type has no infinity."""
    if target is ElementType.FLOAT8E5M2:
        return x
    with np.errstate(all="ignore"):
        rounded = widen(narrow(np.clip(x, -2 * largest(target), 2 * largest(target)), target))
    return np.where(np.isnan(x) | np.isinf(x) | np.isnan(rounded), np.nan, x)


def _draft(
    ask: Ask,
    slug: str,
    x: Tensor,
    target: ElementType,
    expected: Any,
    attributes: dict[str, Any] | None = None,
) -> Draft:
    attributes = dict(attributes or {})
    inputs = [x]
    if ask.name == "Cast":
        attributes["to"] = int(target)
    else:
        like: Any = "" if target is _STRING else 1
        inputs.append(narrow(np.array([like]), target))
    return ask.draft(
        slug,
        inputs,
        [expected],
        outputs=(f"tensor({target.onnx_name})",),
        attributes=attributes,
        oracle="native",
    )


def values_for(source: ElementType, target: ElementType) -> Array:
    """Values of the source whose conversion to the target is defined by the standard."""
    if source is _STRING:
        return _texts(target)
    if source is ElementType.BOOL:
        if target is _STRING:
            return np.array([], bool)  # neither "True" nor "1" is stated
        return np.array([True]) if target is _E8M0 else np.array([True, False, True])
    if target is _STRING:
        return _printable(source)
    if is_integer(source):
        return _integers(source, target)
    values = edges(source, nan=True)
    if target is ElementType.BOOL:
        return values[~np.isnan(values)]
    if is_integer(target):
        return _in_range(source, target)
    return _reals(source, target)


def _reals(source: ElementType, target: ElementType) -> Array:
    """Numbers, ties between two neighbours of the target, and what lies outside its range."""
    top, step = largest(target), _ulp_at_one(target)
    ties = [1 + step / 2, 1 + 3 * step / 2, -(1 + step / 2), 1 + 0.75 * step, 2 + step]
    values = [0.0, 1.0, -1.0, 0.5, -2.0, 3.0, *ties, top, -top]
    if target is _E8M0:
        # Rounded up by default; zero, negative values and NaN's sign are left open.
        return np.array([1.0, 2.0, 0.5, 3.0, 1.5, 6.0])
    if source is _E8M0:
        return np.array([1.0, 2.0, 0.5, 4.0])
    if target not in _MINIATURE:
        values += [np.nan] if _has_nan(source) else []
        infinite = has_infinity(source) and source is not target  # a Cast that changes nothing
        values += [np.inf, -np.inf] if infinite else []
        if top < largest(source) / 4:
            values += [top * 2, -top * 2]
    if largest(source) / 4 > top and target in _MINIATURE:
        values += [top * 2, -top * 2]
    tiny = smallest_normal(target)
    if tiny > smallest_normal(source):
        values += [tiny, tiny / 2, -tiny * 0.75]
    array = np.array(values)
    kept = ~(np.abs(array) > largest(source)) | np.isinf(array)
    return np.asarray(array[kept])


def _ulp_at_one(element: ElementType) -> float:
    return float(ml_dtypes.finfo(element.dtype()).eps)


def _has_nan(element: ElementType) -> bool:
    return element not in _MINIATURE


def _in_range(source: ElementType, target: ElementType) -> Array:
    """Reals are cut off towards zero; outside the range nothing is stated."""
    low, high = bounds(target)
    values = np.array([0.0, 0.5, 1.0, 1.5, 1.75, 2.5, 3.0, 6.0, 100.25, 1000.0, 2.0**30, 2.0**40])
    values = np.concatenate([values, -values])
    if source is _E8M0:
        values = np.array([1.0, 2.0, 64.0])
    values = widen(narrow(values[np.abs(values) <= largest(source)], source))
    whole = np.trunc(values)
    if target.bits < 8:  # nearest even by the standard's technical notes, cut off by its reference
        values = values[values == whole]
        whole = values
    return np.asarray(values[(whole >= low) & (whole <= high)])


def _integers(source: ElementType, target: ElementType) -> Array:
    values = edges(source)
    if is_integer(target) or target is ElementType.BOOL:
        return values
    if target is _E8M0:
        return np.array([v for v in (1, 2, 4, 3, 6) if v <= bounds(source)[1]])
    # Exact ties between neighbours of the target, one below and one above.
    low, high = bounds(source)
    digits = 1 - int(math.log2(_ulp_at_one(target)))
    for base in (1 << digits, 1 << min(62, digits + 1)):
        more = [base + 1, base + 3, -base - 1, -base - 3]
        fit = [v for v in more if low <= v <= high]
        values = np.concatenate([values, np.array(fit, dtype=values.dtype)])
    return values


def _texts(target: ElementType) -> Array:
    if target is _STRING:
        return np.array(["", "a", "1.5", "naïve"], dtype=object)
    if target is ElementType.BOOL:
        return np.array([], dtype=object)  # the standard does not say which text is true
    if is_integer(target):
        low, high = bounds(target)
        return np.array([str(v) for v in sorted({low, 0, 1, high})], dtype=object)
    if target is _E8M0:
        return np.array(["1", "2", "0.5"], dtype=object)
    texts = ["0", "1", "-2", "0.5", "1.5", "1e0"]
    if target not in _MINIATURE:
        texts += ["NaN", "nan", "1e-1"]
    if has_infinity(target) and target.bits >= 16:
        texts += ["INF", "-inf", "+INF", "12.25", "1e3"]
    if not is_signed(target):
        texts = [t for t in texts if not t.startswith("-")]
    return np.array(texts, dtype=object)


def _printable(source: ElementType) -> Array:
    """Numbers with one plain decimal form; of how many digits a fraction has, and of the form of
    whole reals, the standard says nothing."""
    if is_integer(source):
        return edges(source)
    return np.array([])


def converted(x: Array, source: ElementType, target: ElementType) -> Any:
    if target is _STRING:
        return x if source is _STRING else np.array([str(int(v)) for v in x], dtype=object)
    if source is _STRING:
        if is_integer(target):
            return np.array([int(v) for v in x], dtype=object)
        x = np.array([float(v) for v in x])
    if target is ElementType.BOOL:
        return x != 0
    if is_integer(target):
        return _wrapped(np.trunc(x) if x.dtype.kind == "f" else x, target)
    x = _as_float(x, target)
    if target in _FLOAT8 or target in _MINIATURE:
        x = np.where(np.isnan(x), x, np.clip(x, -largest(target), largest(target)))
    if target is _E8M0:
        x = np.exp2(np.ceil(np.log2(x)))
    return narrow(x, target)


def _as_float(x: Array, target: ElementType) -> Array:
    """float64; of integers wider than it the number rounded to odd, which rounds right again."""
    if x.dtype.kind not in "iu" or target is ElementType.DOUBLE:
        return x.astype(np.float64)
    return np.array([_odd(int(v)) for v in x])


def _odd(value: int) -> float:
    extra = max(0, abs(value).bit_length() - 52)
    cut = abs(value) >> extra
    if cut << extra != abs(value):
        cut |= 1
    return math.copysign(float(cut << extra), value)


def _wrapped(x: Array, target: ElementType) -> Array:
    """Higher bits are discarded and the rest is read as two's complement."""
    low, high = bounds(target)
    size = high - low + 1
    values = [(int(v) - low) % size + low for v in x]
    return np.array(values, dtype=object)


@generates("BitCast")
def bit_cast(ask: Ask) -> Iterator[Draft]:
    """Every type of the same width; the bytes stay as they are."""
    if not ask.first:
        return
    source = ask.element
    x = ask.draw("bits").tensor(source, (2, 3))
    for name in ask.types("T2"):
        target = ElementType.from_onnx_name(name[7:-1])
        other = target.bits != source.bits or ElementType.BOOL in (source, target)
        if other and target is not source:
            continue
        expected = Tensor(target, x.shape, x.data)
        yield ask.draft(
            f"to-{target.onnx_name}",
            [x],
            [expected],
            outputs=(name,),
            attributes={"to": int(target)},
            oracle="native",
        )
