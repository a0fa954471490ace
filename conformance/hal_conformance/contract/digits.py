"""Integers and real numbers that need every digit of their type.

Two ways: one large number in the data of an operator that is linear in it, which the evaluator
shows with three small ones; and numbers that differ in their last digit alone, for an operator that
chooses among them.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from hal import ElementType, Tensor, Value
from hal.compare import compare
from hal_conformance.contract.draft import Ask, Draft, Run
from hal_conformance.contract.draw import has_infinity
from hal_conformance.contract.numbers import (
    Array,
    bounds,
    epsilon,
    is_float,
    is_integer,
    largest,
    narrow,
    widen,
)
from hal_conformance.contract.probe import (
    ask_evaluator,
    data_of,
    fed,
    placed,
    places,
    smallest,
)
from hal_conformance.contract.special import MOVING

__all__ = ["digits"]

_CHOOSING = frozenset(
    [
        "ArgMax",
        "ArgMin",
        "GlobalMaxPool",
        "Hardmax",
        "MaxPool",
        "ReduceMax",
        "ReduceMin",
        "TopK",
        "Unique",
    ]
)
_OF_KEYS = frozenset(
    ["ai.onnx.ml::CategoryMapper", "ai.onnx.ml::LabelEncoder", "ai.onnx.ml::OneHotEncoder"]
)
"""What looks its data up: how a number that is no key is compared is the evaluator's own."""


def digits(ask: Ask, drafts: Sequence[Draft]) -> Iterator[Draft]:
    """A draft of an ask with numbers that no narrower type holds, as a case "digits"."""
    if not ask.type.startswith("tensor(") or ask.operator.key in MOVING | _OF_KEYS:
        return
    if ask.operator.key in _CHOOSING:
        yield from _close(ask, drafts)
    elif is_integer(ask.element) and ask.element.bits >= 16:
        for draft in smallest(ask, drafts)[:4]:
            runs = _linear(ask, draft)
            if runs:
                yield dataclasses.replace(draft, slug="digits", runs=runs, twice=False)
                return
    elif is_float(ask.element) and ask.element.bits >= 16:
        yield from _rounded(ask, drafts)


_HALFWAY = {
    ElementType.DOUBLE: 2.0**-24,
    ElementType.FLOAT: 2.0**-11,
    ElementType.FLOAT16: 2.0**-8,
    ElementType.BFLOAT16: 2.0**-4,
}
"""What is lost of 1 and this in the next narrower types, which round it to 1."""
_HALVES = (ElementType.FLOAT16, ElementType.BFLOAT16)
_PATTERNS = ("signed", "positive", "every second", "near")
"""Which numbers are rounded, and of what sign they are: all; all of one sign, so that they do not
cancel; every second one, so that no common factor is left; and those that differ in nothing else,
for types whose sums are in float."""


def _rounded(ask: Ask, drafts: Sequence[Draft]) -> Iterator[Draft]:
    """The first draft whose results show that its data was rounded, or else the first one."""
    best: Draft | None = None
    fitting = smallest(ask, drafts)[:6]
    for draft, pattern in itertools.product(fitting, _PATTERNS):
        if pattern == "near" and ask.element not in _HALVES:
            continue
        found = _between(ask, draft, pattern)
        if found is None:
            continue
        run, shown = found
        if best is None or shown:
            best = dataclasses.replace(draft, slug="digits", runs=(run,), twice=False)
        if shown:
            break
    if best is not None:
        yield best


def _between(ask: Ask, draft: Draft, pattern: str) -> tuple[Run, bool] | None:
    """The draft with numbers between two of a narrower type, all of which are rounded down, so that
    no sum makes up for it; and whether that shows. None where the result is the same, or none."""
    changed, rounded = draft, draft
    for position in data_of(ask, draft):
        tensor = draft.runs[0].inputs[position]
        if not isinstance(tensor, Tensor):
            return None
        wide = widen(tensor)
        _, exponent = np.frexp(wide)
        power = np.where((wide == 0) | ~np.isfinite(wide), 0.0, np.ldexp(0.5, exponent))
        ones = np.sign(wide) * power if pattern in ("signed", "every second") else power
        if pattern == "near":
            ones = np.full_like(power, 16.0)
        places = np.arange(wide.size).reshape(wide.shape) % 2
        more = places if pattern in ("every second", "near") else 1
        changed = fed(changed, position, ones * (1 + _HALFWAY[ask.element] * more))
        rounded = fed(rounded, position, ones)
    right, wrong = (ask_evaluator(ask, d) for d in (changed, rounded))
    if right is None or wrong is None or draft.reference_error > epsilon(ask.element):
        return None
    differ = shown = False
    for a, b in zip(right, wrong, strict=True):
        if a is None or b is None:
            continue
        if not isinstance(a, Tensor) or not isinstance(b, Tensor) or a.shape != b.shape:
            return None
        if is_float(a.element_type) and not np.isfinite(widen(a)).all():
            return None
        differ = differ or bool((a.bits() != b.bits()).any())
        shown = shown or bool(compare(a, b, rtol=draft.tolerance.rtol, atol=draft.tolerance.atol))
    return (Run(changed.runs[0].inputs, right), shown) if differ else None


def _close(ask: Ask, drafts: Sequence[Draft]) -> Iterator[Draft]:
    if not (is_integer(ask.element) or is_float(ask.element)) or ask.element.bits < 16:
        return
    for draft in smallest(ask, drafts)[:1]:
        position = data_of(ask, draft)[0]
        tensor = draft.runs[0].inputs[position]
        if not isinstance(tensor, Tensor):
            return
        order = ask.draw("digits").order(tensor.size)
        steps = np.array(order, np.int64).reshape(tensor.shape)
        runs = []
        for values in _neighbours(ask, steps):
            changed = fed(draft, position, values)
            given = ask_evaluator(ask, changed)
            if given is None:
                return
            runs.append(changed.runs[0])
        yield dataclasses.replace(changed, slug="digits", runs=tuple(runs))


def _neighbours(ask: Ask, steps: Array) -> Iterator[Array]:
    """Numbers that differ in the last digit: next to the ends of integers, above 1; integers whose
    halves are in opposite orders; the ends of real types and infinities."""
    if is_float(ask.element):
        yield 1 + steps * epsilon(ask.element)
        if has_infinity(ask.element):
            top = largest(ask.element)
            yield np.array([-top, np.inf, top, -np.inf])[steps % 4]
        return
    low, high = bounds(ask.element)
    dtype = np.uint64 if low == 0 else np.int64
    yield np.array([high - int(s) for s in steps.ravel()], dtype).reshape(steps.shape)
    if low < 0:
        yield np.array([low + int(s) for s in steps.ravel()], dtype).reshape(steps.shape)
    half = 1 << ask.element.bits // 2
    first = [int(s) % min(half // 2, 97) for s in steps.ravel()]
    yield np.array([f * half + 96 - f for f in first], dtype).reshape(steps.shape)


def _linear(ask: Ask, draft: Draft) -> tuple[Run, ...]:
    """The draft with one large number, in the first two inputs of data in turn."""
    found = []
    for position in data_of(ask, draft)[:2]:
        tensor = draft.runs[0].inputs[position]
        if not isinstance(tensor, Tensor):
            continue
        for at in places(tensor.size):
            run = _large(ask, draft, position, at)
            if run is not None:
                found.append(run)
                break
    return tuple(found)


def _large(ask: Ask, draft: Draft, position: int, at: int) -> Run | None:
    small = [ask_evaluator(ask, placed(draft, position, at, v)) for v in (0, 1, 3)]
    if any(s is None for s in small):
        return None
    zero, one, three = ([_whole(v) for v in s] for s in small if s is not None)
    _low, high = bounds(ask.element)
    steps, most = 0, 0
    for a, b, c in zip(zero, one, three, strict=True):
        if a is None or b is None or c is None or not a.shape == b.shape == c.shape:
            return None
        if np.any((b - a) * 3 != c - a):
            return None
        if a.size:
            steps = max(steps, int(np.max(np.abs(b - a))))
            most = max(most, int(np.max(np.abs(a))))
    if not steps:
        return None
    large = ((high - most) // steps - 1) | 1
    if large.bit_length() + 2 < ask.element.bits - 6:
        return None
    changed = _placed_exactly(draft, position, at, large)
    given = ask_evaluator(ask, changed)
    if given is None:
        return None
    for value, a, b in zip(given, zero, one, strict=True):
        got = _whole(value)
        if got is None or a is None or b is None or np.any(got != a + (b - a) * large):
            return None
    return Run(changed.runs[0].inputs, tuple(given))


def _placed_exactly(draft: Draft, position: int, at: int, value: int) -> Draft:
    tensor = draft.runs[0].inputs[position]
    if not isinstance(tensor, Tensor):
        raise TypeError("a number is put into a tensor")
    flat = widen(tensor).ravel()
    flat[at] = value
    inputs: list[Value | None] = list(draft.runs[0].inputs)
    inputs[position] = narrow(flat.reshape(tensor.shape), tensor.element_type)
    return dataclasses.replace(draft, runs=(Run(tuple(inputs)),), twice=False)


def _whole(value: Value | None) -> Array | None:
    """An integer result as exact numbers of Python."""
    if not isinstance(value, Tensor) or not is_integer(value.element_type):
        return None
    wide = widen(value)
    return np.asarray(np.array([int(v) for v in wide.ravel().tolist()], object).reshape(wide.shape))
