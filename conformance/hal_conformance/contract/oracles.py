"""What a case expects: the generator's formula and ONNX's reference evaluator, each in higher
precision, and whether they agree."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from hal import ElementType, MapValue, OptionalValue, SequenceValue, Tensor, Value
from hal.compare import compare
from hal.contract import Operator
from hal_conformance.contract.draft import Draft
from hal_conformance.contract.numbers import value_of
from hal_conformance.contract.protos import composed_model, model_of, widened_value

__all__ = ["Verdict", "expected_of"]


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What is expected of each run, by position, None for an output left out; and why it is
    disputed, "" if it is not."""

    outputs: tuple[tuple[Value | None, ...], ...]
    disputed: str = ""
    alone: str = ""
    """Why only one oracle decides, "" where two do."""


def expected_of(operator: Operator, draft: Draft) -> Verdict:
    """The expected outputs of a draft.

    The formula's where there is one, checked against the reference evaluator's, else the
    evaluator's. Raises ValueError when a draft has neither, and whatever the evaluator raises when
    it is the only oracle.
    """
    formula = [_formula(draft, run.expected) for run in draft.runs]
    have = all(run.expected for run in draft.runs)
    if draft.oracle == "none":
        if not have:
            raise ValueError(f"{operator.id} {draft.slug}: a draft without any oracle")
        return Verdict(tuple(formula), alone=draft.reason or "the evaluator is not asked")
    try:
        reference = _ask_reference(operator, draft)
    except Exception as error:
        if not have:
            raise
        # The evaluator raises whatever NumPy does. What it cannot run is no vote.
        return Verdict(tuple(formula), alone=_failed(error))
    if not have:
        return Verdict(tuple(reference), alone="no formula")
    return Verdict(tuple(formula), _disagreement(draft, formula, reference))


def _formula(draft: Draft, expected: Sequence[Any]) -> tuple[Value | None, ...]:
    if not expected:
        return ()
    return tuple(
        value_of(raw, type_) if type_ else None
        for raw, type_ in zip(expected, draft.outputs, strict=True)
    )


def _failed(error: Exception) -> str:
    return f"ONNX's reference evaluator cannot run it: {type(error).__name__}: {error}"[:300]


def _disagreement(
    draft: Draft,
    formula: Sequence[tuple[Value | None, ...]],
    reference: Sequence[tuple[Value | None, ...]],
) -> str:
    rtol = max(draft.tolerance.rtol, draft.reference_error)
    atol = max(draft.tolerance.atol, draft.reference_error)
    for ours, theirs in zip(formula, reference, strict=True):
        for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            if a is None or b is None:
                continue
            reason = compare(a, b, rtol=rtol, atol=atol)
            if reason:
                return f"formula against ONNX's reference evaluator, output y{i}: {reason}"
    return ""


def _ask_reference(operator: Operator, draft: Draft) -> list[tuple[Value | None, ...]]:
    widened = draft.oracle == "widened"
    dims = [None] * len(draft.outputs)
    if draft.composition:
        model = composed_model(draft, widened=widened)
    else:
        model = model_of(operator, draft, dims, widened=widened)
    constants = {i.name for i in model.graph.initializer}
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        evaluator = ReferenceEvaluator(model)
        results = []
        for run in draft.runs:
            feeds = {
                f"x{i}": _raw(widened_value(value) if widened else value)
                for i, value in enumerate(run.inputs)
                if value is not None and f"x{i}" not in constants
            }
            given = iter(evaluator.run(None, feeds))
            results.append(
                tuple(_checked(next(given), type_) if type_ else None for type_ in draft.outputs)
            )
    return results


def _raw(value: Value | None) -> Any:
    """What the evaluator takes for a value: arrays, lists, None and dicts."""
    if isinstance(value, Tensor):
        return value.numpy().astype(str) if value.element_type is _STRING else value.numpy()
    if isinstance(value, SequenceValue):
        return [_raw(item) for item in value.items]
    if isinstance(value, OptionalValue):
        return _raw(value.value)
    if isinstance(value, MapValue):
        return dict(zip(value.keys.bits().tolist(), value.values.bits().tolist(), strict=True))
    return None


_STRING = ElementType.STRING


def _checked(raw: Any, type_: str) -> Value:
    if isinstance(raw, onnx.TensorProto):
        raise TypeError("the evaluator gave a TensorProto")
    return value_of(raw, type_)
