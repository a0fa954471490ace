"""NaN and infinities in one place of the data of an operator that computes.

Of NaN two things are asked: the results that depend on the place (which the evaluator shows with
other numbers there) are NaN, and all others are what they were by the family's formula. An infinity
is taken where the evaluator gives no NaN for it, or nothing else (`_INVALID`), or where every way
to write the formula gives the same (`_MIXED`). What the standard defines by comparisons gets no
NaN: it says nothing of it there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from hal import Tensor, Value
from hal_conformance.contract.draft import Ask, Draft, Run
from hal_conformance.contract.draw import has_infinity
from hal_conformance.contract.numbers import Array, is_float, narrow, widen
from hal_conformance.contract.probe import (
    Results,
    ask_evaluator,
    data_of,
    differs,
    formula_of,
    near,
    placed,
    places,
    smallest,
)
from hal_conformance.contract.special import MOVING

__all__ = ["COMPARING", "nonfinite"]

COMPARING = frozenset(
    [
        "ArgMax",
        "ArgMin",
        "Celu",
        "Clip",
        "GlobalMaxPool",
        "HardSigmoid",
        "HardSwish",
        "Hardmax",
        "Max",
        "MaxPool",
        "MaxRoiPool",
        "Min",
        "NonMaxSuppression",
        "NonZero",
        "ReduceMax",
        "ReduceMin",
        "Relu",
        "Shrink",
        "Sign",
        "ThresholdedRelu",
        "TopK",
        "Unique",
        "ai.onnx.ml::Binarizer",
        "ai.onnx.ml::Normalizer",
        "ai.onnx.ml::TreeEnsemble",
    ]
)
"""Operators that the standard defines by comparisons, of NaN in which it says nothing."""
_LEFT_OUT = frozenset(
    [
        "Attention",
        "DFT",
        "DeformConv",
        "DynamicQuantizeLinear",
        "Multinomial",
        "STFT",
        "ai.onnx.ml::Imputer",
    ]
)
"""Where a number that is none has a meaning of its own, or where it goes depends on whether terms
of weight zero are computed."""
_INVALID = frozenset(
    [
        "Cos",
        "GroupNormalization",
        "InstanceNormalization",
        "LayerNormalization",
        "MeanVarianceNormalization",
        "Sin",
        "Tan",
    ]
)
"""What has no value where its first operand is infinite: functions, by ISO C, F.10.1; and the
distance of an infinity from an infinite mean, from which the variance follows, and all results."""
_MIXED = frozenset(["LRN", "LpNormalization"])
"""What divides by what is infinite too: nothing is left of the infinity, and of all else zero."""
_FOLDED = frozenset(["GroupNormalization", "InstanceNormalization"])
"""Where a scale may be folded into what is added: not the second operand, but the third."""
_NAN_ONLY = frozenset(["Det", "Gelu", "Resize", "RoiAlign"])
"""Where an infinity meets another one, or a zero, or not, as the formula is written."""


def nonfinite(ask: Ask, drafts: Sequence[Draft]) -> Iterator[Draft]:
    """The smallest draft of an ask with NaN, and with each infinity, in a place that matters."""
    key = ask.operator.key
    if key in MOVING or key in _LEFT_OUT or not ask.type.startswith("tensor("):
        return
    if not is_float(ask.element) or ask.element.bits < 16:
        return
    best: tuple[Draft, tuple[Run, ...]] | None = None
    worth = (False, 0)
    for draft in _fitting(ask, drafts)[:4]:
        runs = _runs(ask, draft)
        found = (any(map(_elsewhere, runs)), len(runs))
        if found > worth:
            best, worth = (draft, runs), found
        if found > (True, 2):
            break
    if best is not None and best[1]:
        yield dataclasses.replace(best[0], slug="nonfinite", runs=best[1])


def _fitting(ask: Ask, drafts: Sequence[Draft]) -> list[Draft]:
    found = smallest(ask, drafts)
    if ask.operator.key == "Resize":  # weights of zero are multiplied with, or not
        return [d for d in found if d.attributes.get("mode", "nearest") == "nearest"]
    return found


def _runs(ask: Ask, draft: Draft) -> tuple[Run, ...]:
    base = ask_evaluator(ask, draft)
    if base is None or not any(isinstance(v, Tensor) for v in base):
        return ()
    own = formula_of(draft) or base
    found: list[Run] = []
    data = data_of(ask, draft)
    for position in data[:3:2] if ask.operator.key in _FOLDED else data[:2]:
        tensor = draft.runs[0].inputs[position]
        if not isinstance(tensor, Tensor):
            continue
        for at in places(tensor.size):
            touched = _touched(ask, draft, base, position, at)
            if touched is None or not any(t.any() for t in touched if t is not None):
                continue
            made = [_with(ask, draft, own, touched, position, at, v) for v in _numbers(ask)]
            found += [run for run in made if run is not None]
            break
    return tuple(found)


def _elsewhere(run: Run) -> bool:
    """Whether some of the results are finite all the same."""
    return any(isinstance(v, Tensor) and np.isfinite(widen(v)).any() for v in run.expected)


def _numbers(ask: Ask) -> list[float]:
    found = [] if ask.operator.key in COMPARING else [np.nan]
    infinite = has_infinity(ask.element) and ask.operator.key not in _NAN_ONLY
    return [*found, np.inf, -np.inf] if infinite else found


def _touched(
    ask: Ask, draft: Draft, base: Results, position: int, at: int
) -> list[Array | None] | None:
    """Where each result depends on a place of the data."""
    tensor = draft.runs[0].inputs[position]
    if not isinstance(tensor, Tensor):
        return None
    value = float(widen(tensor).ravel()[at])
    found: list[Array | None] = [None] * len(base)
    for other in (value * 1.5 + 0.5, value * 0.5 - 0.25, 0.25):
        given = ask_evaluator(ask, placed(draft, position, at, other))
        if given is None:
            continue
        for i, (a, b) in enumerate(zip(base, given, strict=True)):
            if isinstance(a, Tensor) and isinstance(b, Tensor):
                if a.shape != b.shape:
                    return None
                mask = differs(a, b)
                before = found[i]
                found[i] = mask if before is None else before | mask
    return found


def _with(
    ask: Ask,
    draft: Draft,
    own: Results,
    touched: Sequence[Array | None],
    position: int,
    at: int,
    value: float,
) -> Run | None:
    """The run with that value in that place; None where the evaluator does not bear it out."""
    changed = placed(draft, position, at, value)
    given = ask_evaluator(ask, changed)
    if given is None:
        return None
    expected: list[Value | None] = []
    for right, got, mask in zip(own, given, touched, strict=True):
        if right is None:
            expected.append(None)
            continue
        if not isinstance(right, Tensor) or not isinstance(got, Tensor) or mask is None:
            return None
        if right.shape != got.shape:
            return None
        if not is_float(right.element_type):
            if mask.any() or differs(right, got).any():
                return None
            expected.append(right)
            continue
        before, after = widen(right), widen(got)
        if np.isnan(after)[~mask].any() or not _same(draft, right, got, ~mask):
            return None
        key = ask.operator.key
        lost = np.isnan(value) or (position == 0 and key in _INVALID)
        missing = np.isnan(after)[mask]
        if not missing.all() if lost else missing.any() and key not in _MIXED:
            return None
        if not np.isnan(value) and draft.reference_error:
            return None
        expected.append(narrow(np.where(mask, after, before), right.element_type))
    return Run(changed.runs[0].inputs, tuple(expected))


def _same(draft: Draft, a: Tensor, b: Tensor, where: Array) -> bool:
    left = narrow(widen(a)[where], a.element_type)
    return near(draft, left, narrow(widen(b)[where], a.element_type))
