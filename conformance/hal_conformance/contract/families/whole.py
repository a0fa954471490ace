"""Integers of many bits where their results still fit: reductions, powers and thresholds."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hal import ElementType
from hal_conformance.contract.draft import Ask, Draft, generates
from hal_conformance.contract.families.movement import int64s
from hal_conformance.contract.numbers import Array, bounds, is_float, is_integer, narrow, widen
from hal_conformance.contract.tolerance import composed

_E = ElementType


@generates("ReduceMean", "ReduceProd", "ReduceSumSquare", "ReduceL2")
def wide_reduction(ask: Ask) -> Iterator[Draft]:
    """One number a row, or one and what changes nothing."""
    if not is_integer(ask.element) or not ask.first:
        return
    if ask.name == "ReduceMean" and ask.element is _E.UINT64:
        return  # no oracle, and no engine either, divides such numbers as integers
    _low, high = bounds(ask.element)
    root = {_E.INT64: 2**24 + 1, _E.INT32: 40000, _E.UINT64: 2**31 + 3, _E.UINT32: 65535}
    whole = {_E.INT64: 2**60 + 1, _E.INT32: 2**30 + 1, _E.UINT64: 2**63 + 1, _E.UINT32: 2**31 + 1}
    if ask.name == "ReduceMean":
        values = np.array([[whole[ask.element]], [whole[ask.element] - 5]], dtype=object)
        expected = values
    elif ask.name == "ReduceProd":
        values = np.array([[1, whole[ask.element]], [whole[ask.element] - 5, 1]], dtype=object)
        expected = values.max(axis=1, keepdims=True)
    else:
        wide = {_E.INT64: 2**31 + 2**22, _E.INT32: 40000, _E.UINT64: 2**31 + 2**22}
        most = root if ask.name == "ReduceSumSquare" else {**root, **wide}
        row = [most[ask.element], *([2**31 + 2**22] if ask.element is _E.INT64 else [])]
        values = np.array([[v, 0] for v in row], dtype=object)
        expected = values[:, :1] ** (2 if ask.name == "ReduceSumSquare" else 1)
    if int(values.max()) > high:
        return
    yield ask.draft(
        "wide",
        [narrow(_exact(ask, values), ask.element), int64s([1])],
        [_exact(ask, expected)],
        oracle="none",
        reason="NumPy's means and roots of integers are in double",
    )


def _exact(ask: Ask, values: Array) -> Array:
    return values.astype(np.uint64 if ask.element is _E.UINT64 else np.int64)


@generates("Pow")
def wide_power(ask: Ask) -> Iterator[Draft]:
    """Powers whose digits no real type holds."""
    if ask.constraint == "T" and ask.element is _E.INT64:
        x = narrow(np.array([2**60 + 1, 3037000499, 2097151, -2097151]), ask.element)
        y = narrow(np.array([1, 2, 3, 3]), ask.element)
        expected = np.array([2**60 + 1, 3037000499**2, 2097151**3, -(2097151**3)])
        yield ask.draft("wide", [x, y], [expected], oracle="native")


@generates("Shrink")
def shrink_by_default(ask: Ask) -> Iterator[Draft]:
    """The default bound is a half, and nothing is added: all beyond it stay what they are."""
    if is_integer(ask.element) and ask.element is not _E.UINT64:
        low, high = bounds(ask.element)
        values = np.array([0, 1, high, high - 2, low, high // 3], dtype=object)
        x = narrow(_exact(ask, values), ask.element)
        reason = "onnx 1.23.2's evaluator computes on integers as reals"
        yield ask.draft("default", [x], [_exact(ask, values)], oracle="none", reason=reason)
    elif is_float(ask.element):
        x = narrow(np.array([0.25, 0.5, 0.75, -0.75, -0.5, 0.625, 3.0]), ask.element)
        wide = widen(x)
        expected = np.where(np.abs(wide) > 0.5, wide, 0)
        yield ask.draft("default", [x], [expected], tolerance=composed(ask.element))
