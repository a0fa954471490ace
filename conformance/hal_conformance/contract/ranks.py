"""Data of six dimensions for operators that do not work element by element.

Dimensions are put before those of the data, and axes that are counted from the front are shifted.
That this only gives the results more dimensions, or repeats them, is asked of the evaluator, and
taken if its results are the family's own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from hal import ElementType, Tensor, Value
from hal_conformance.contract.batch import rearranged
from hal_conformance.contract.draft import Ask, Draft, Run
from hal_conformance.contract.numbers import Array
from hal_conformance.contract.probe import (
    Results,
    ask_evaluator,
    data_of,
    formula_of,
    near,
    smallest,
)

__all__ = ["deep_ranks"]

_RANK = 6
_COUNTED = ("axis", "axes", "batch_axis", "time_axis", "batch_dims")
"""Attributes and inputs that count dimensions from the front."""
_FIXED = frozenset(
    [
        "GRU",
        "Gemm",
        "LSTM",
        "RNN",
        "STFT",
        "ScatterND",
        "Tile",
        "ai.onnx.ml::FeatureVectorizer",
        "ai.onnx.ml::LinearRegressor",
        "ai.onnx.ml::Normalizer",
        "ai.onnx.ml::OneHotEncoder",
        "ai.onnx.ml::Scaler",
    ]
)
"""Operators whose ranks the standard fixes, whatever the evaluator takes."""


def deep_ranks(ask: Ask, drafts: Sequence[Draft]) -> Iterator[Draft]:
    """One draft of an ask with six dimensions, as a case "rank6"."""
    if ask.operator.key in _FIXED:
        return
    for draft in smallest(ask, drafts, least=1)[:6]:
        base = ask_evaluator(ask, draft)
        if base is None or not all(v is None or isinstance(v, Tensor) for v in base):
            continue
        for repeated in (2, 1):
            for shifted in (True, False):
                for every in (True, False):
                    made = _deeper(ask, draft, base, repeated, shifted=shifted, every=every)
                    if made is not None:
                        yield made
                        return


def _deeper(
    ask: Ask, draft: Draft, base: Results, repeated: int, *, shifted: bool, every: bool
) -> Draft | None:
    data = data_of(ask, draft)
    first = draft.runs[0].inputs[data[0]]
    if not isinstance(first, Tensor) or not 0 < len(first.shape) < _RANK:
        return None
    more = (repeated, *[1] * (_RANK - len(first.shape) - 1))
    inputs: list[Value | None] = []
    for i, value in enumerate(draft.runs[0].inputs):
        formal = ask.operator.input(i)
        name = formal.name if formal is not None else ""
        if isinstance(value, Tensor) and name in _COUNTED:
            value = _shifted_input(value, len(more)) if shifted else value
        elif i == data[0] or (every and isinstance(value, Tensor) and value.shape):
            value = _wrapped(value, more)
        inputs.append(value)
    attributes = _shifted(draft.attributes, len(more)) if shifted else draft.attributes
    trial = dataclasses.replace(
        draft, slug="rank6", runs=(Run(tuple(inputs)),), attributes=attributes, dynamic=False
    )
    given = ask_evaluator(ask, trial)
    if given is None:
        return None
    own = formula_of(draft) or base
    expected: list[Value | None] = []
    for right, got in zip(own, given, strict=True):
        if right is None:
            expected.append(None)
            continue
        wrapped = _wrapped(right, more)
        if not isinstance(wrapped, Tensor) or not isinstance(got, Tensor):
            return None
        if wrapped.shape != got.shape or not near(draft, wrapped, got):
            return None
        expected.append(wrapped)
    runs = (Run(tuple(inputs), tuple(expected) if draft.runs[0].expected else ()),)
    return dataclasses.replace(trial, runs=runs)


def _wrapped(value: Value | None, more: tuple[int, ...]) -> Value | None:
    if isinstance(value, Tensor) and not value.shape:
        return value

    def change(bits: Array) -> Array:
        return np.ascontiguousarray(np.broadcast_to(bits, (*more, *bits.shape)))

    return rearranged(value, change)


def _shifted(attributes: Mapping[str, Any], by: int) -> Mapping[str, Any]:
    return {k: _later(v, by) if k in _COUNTED else v for k, v in attributes.items()}


def _later(value: Any, by: int) -> Any:
    if isinstance(value, int):
        return value + by if value >= 0 else value
    return [_later(v, by) for v in value] if isinstance(value, (list, tuple)) else value


def _shifted_input(value: Tensor, by: int) -> Tensor:
    bits = value.bits()
    if value.element_type not in (ElementType.INT32, ElementType.INT64):
        return value
    return Tensor.from_numpy(np.where(bits >= 0, bits + by, bits).astype(bits.dtype))
