"""Cases that follow from an operator's other drafts: what any kernel must bear.

A kernel may be called again, on other data, on another shape, beside another reader of its inputs;
one that works element by element may be given any shape. Both are the same for every operator, so
no family says it: the data and the results are those of the family's own drafts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from hal import ElementType, SequenceValue, Tensor, Value
from hal_conformance.contract.batch import batch_of, rearranged, shape_of
from hal_conformance.contract.draft import Ask, Draft, Run
from hal_conformance.contract.numbers import Array, is_float, widen
from hal_conformance.contract.oracles import expected_of
from hal_conformance.contract.probe import ask_evaluator, data_of, formula_of
from hal_conformance.contract.tolerance import Tolerance

__all__ = ["reused"]

_ELEMENTWISE = frozenset(
    [
        "Abs",
        "Acos",
        "Acosh",
        "Add",
        "And",
        "Asin",
        "Asinh",
        "Atan",
        "Atanh",
        "BitShift",
        "BitwiseAnd",
        "BitwiseNot",
        "BitwiseOr",
        "BitwiseXor",
        "Cast",
        "CastLike",
        "Ceil",
        "Celu",
        "Clip",
        "Cos",
        "Cosh",
        "DequantizeLinear",
        "Div",
        "Elu",
        "Equal",
        "Erf",
        "Exp",
        "Floor",
        "Gelu",
        "Greater",
        "GreaterOrEqual",
        "HardSigmoid",
        "HardSwish",
        "Identity",
        "IsInf",
        "IsNaN",
        "LeakyRelu",
        "Less",
        "LessOrEqual",
        "Log",
        "Max",
        "Mean",
        "Min",
        "Mish",
        "Mod",
        "Mul",
        "Neg",
        "Not",
        "Or",
        "PRelu",
        "Pow",
        "QuantizeLinear",
        "Reciprocal",
        "Relu",
        "Round",
        "Selu",
        "Shrink",
        "Sigmoid",
        "Sign",
        "Sin",
        "Sinh",
        "Softplus",
        "Softsign",
        "Sqrt",
        "StringConcat",
        "Sub",
        "Sum",
        "SwiGLU",
        "Swish",
        "Tan",
        "Tanh",
        "ThresholdedRelu",
        "Where",
        "Xor",
        "RegexFullMatch",
        "ai.onnx.ml::Binarizer",
        "ai.onnx.ml::CategoryMapper",
        "ai.onnx.ml::LabelEncoder",
    ]
)
"""Operators that give an element for an element, so that their data may have any shape."""

_SHAPES: dict[str, tuple[int, ...]] = {
    "scalar": (),
    "empty": (2, 0, 3),
    "rank6": (1, 3, 1, 3, 1, 3),
}
_SMALL, _LARGE = (2, 3), (3, 7)
_NO_ZEROS = frozenset(["DynamicQuantizeLinear"])
"""Where the standard has no result for zeros: of a range of none it gives no scale."""
_TRIALS = 4
"""How many other models are tried for one whose batch may grow."""
_MOST = 2048
"""Elements of a run: a larger one is about sums, and no better for what is tested here."""


def reused(ask: Ask, drafts: Sequence[Draft], again: Sequence[Draft]) -> Iterator[Draft]:
    """The cases that follow from an ask's drafts; `again` are the same ones with other draws."""
    plain = [d for d in drafts if _usable(d)]
    redrawn = [d for d in again if _usable(d)]
    base = _elementwise(ask, plain)
    if base is not None:
        for slug, shape in _SHAPES.items():
            one = (_reshaped(base, shape, 0),)
            yield dataclasses.replace(base, slug=slug, runs=one, dynamic=False)
        shapes = ((_SMALL, 0), (_SMALL, 2), (_LARGE, 1), (_LARGE, 5), (_SMALL, 0))
        runs = [_reshaped(base, shape, shift) for shape, shift in shapes]
        yield _twice(base, [*runs, *_zeros(ask, base, runs[0])])
        return
    groups: dict[str, list[Draft]] = {}
    for draft in (*plain, *redrawn):
        groups.setdefault(_kind(draft), []).append(draft)
    merged = [_merged(group) for group in groups.values()]
    if merged:
        best, *rest = sorted(merged, key=_worth, reverse=True)
        batch = batch_of(ask, best)
        if batch is None:
            yield dataclasses.replace(best, runs=(*best.runs, *_zeros(ask, best, best.runs[0])))
            for trial in rest[:_TRIALS] if ask.full else ():
                batch = batch_of(ask, trial)
                if batch is not None:
                    best = dataclasses.replace(trial, slug="batched")
                    break
        if batch is None:
            return
        first, *others = best.runs
        zeros = _zeros(ask, best, first)
        longer: tuple[Run, ...] = (*best.runs[:-1], batch.larger, first)
        if _worth(best)[1] == 1:
            longer = (first, *others[:1], batch.larger, first)
        yield dataclasses.replace(best, runs=(*longer, *zeros))
        if batch.empty is None:
            return
        empty = dataclasses.replace(best, slug="empty", runs=(batch.empty,), twice=False)
        if not expected_of(ask.operator, empty).disputed:
            yield empty


def _zeros(ask: Ask, draft: Draft, run: Run) -> list[Run]:
    """The run with zeros as its data, if by the evaluator some results are zero then that are not
    in the run: memory that was not cleared shows nowhere else in the results of many operators."""
    one = dataclasses.replace(draft, runs=(run,), twice=False)
    before = formula_of(one) or ask_evaluator(ask, one)
    if draft.oracle == "none" or before is None or ask.operator.key in _NO_ZEROS:
        return []
    data = data_of(ask, one)
    real = [
        i for i, v in enumerate(run.inputs) if isinstance(v, Tensor) and is_float(v.element_type)
    ]
    numbers = all(v is None or (isinstance(v, Tensor) and is_float(v.element_type)) for v in before)
    # Where integers come out, a scale of zero would divide by zero.
    for chosen in (data[:1], data, real if numbers else []):
        inputs = list(run.inputs)
        for i in chosen:
            value = inputs[i]
            if isinstance(value, Tensor) and i not in draft.constants:
                inputs[i] = rearranged(value, np.zeros_like)
        results = ask_evaluator(ask, dataclasses.replace(one, runs=(Run(tuple(inputs)),)))
        if results is not None and any(map(_vanishes, before, results)):
            return [Run(tuple(inputs), tuple(results) if run.expected else ())]
    return []


def _vanishes(before: Value | None, after: Value | None) -> bool:
    """Whether some elements that are not zero become zero, and no other becomes NaN."""
    if not isinstance(before, Tensor) or not isinstance(after, Tensor):
        return False
    if before.shape != after.shape or (
        is_float(after.element_type) and np.isnan(widen(after)).any()
    ):
        return False
    return bool((_is_zero(after) & ~_is_zero(before)).any())


def _is_zero(tensor: Tensor) -> Array:
    if tensor.element_type is ElementType.STRING:
        return np.asarray(tensor.bits() == "")
    return np.asarray(widen(tensor) == 0)


def _usable(draft: Draft) -> bool:
    sizes = [_size(v) for run in draft.runs for v in run.inputs]
    return draft.judge == "values" and not draft.captured and max(sizes, default=0) <= _MOST


def _twice(draft: Draft, runs: Iterable[Run]) -> Draft:
    return dataclasses.replace(draft, slug="reused", runs=tuple(runs), twice=True)


def _merged(fitting: Sequence[Draft]) -> Draft:
    """A draft with the runs of several: a small one, one of the same shapes, a larger one, one of
    its shapes, and the first one again."""
    runs = {_bytes(run): run for d in fitting for run in d.runs}
    full = [run for run in runs.values() if all(_size(v) for v in run.inputs if v is not None)]
    listed = sorted(full or runs.values(), key=lambda run: sum(map(_size, run.inputs)))
    by_shape: dict[Any, list[Run]] = {}
    for run in listed:
        by_shape.setdefault(tuple(map(shape_of, run.inputs)), []).append(run)
    several = [shape for shape, alike in by_shape.items() if len(alike) > 1]
    small = several[0] if several else next(iter(by_shape))
    large = next((shape for shape in reversed(by_shape) if shape != small), None)
    chosen = by_shape[small][:2] + (by_shape[large][:2] if large is not None else [])
    merged = dataclasses.replace(
        fitting[0],
        tolerance=_widest([d.tolerance for d in fitting]),
        reference_error=max(d.reference_error for d in fitting),
    )
    return _twice(merged, [*chosen, chosen[0]])


def _worth(draft: Draft) -> tuple[bool, int, int]:
    shapes = {tuple(map(shape_of, run.inputs)) for run in draft.runs}
    return len({_bytes(run) for run in draft.runs}) > len(shapes), len(shapes), len(draft.runs)


def _widest(tolerances: Sequence[Tolerance]) -> Tolerance:
    return max(tolerances, key=lambda t: (t.atol, t.rtol))


def _kind(draft: Draft) -> str:
    """The same for drafts whose runs one model takes."""
    first = draft.runs[0]
    constants = [_raw(v) for i, v in enumerate(first.inputs) if i in draft.constants]
    ranks = [None if v is None else (v.type, len(shape_of(v) or ())) for v in first.inputs]
    return repr(
        (
            sorted((k, _text(v)) for k, v in draft.attributes.items()),
            (draft.outputs, sorted(draft.constants), constants, ranks),
            (draft.oracle, draft.reason, draft.opset, draft.dynamic_outputs),
            [np.ndim(e) if isinstance(e, np.ndarray) else -1 for e in first.expected],
        )
    )


def _text(value: Any) -> Any:
    if isinstance(value, Tensor):
        return _raw(value)
    return value.SerializeToString(deterministic=True) if hasattr(value, "ByteSize") else value


def _raw(value: Value | None) -> Any:
    if isinstance(value, Tensor):
        return value.type, value.shape, value.data.tobytes()
    if isinstance(value, SequenceValue):
        return [_raw(item) for item in value.items]
    return repr(value)


def _bytes(run: Run) -> str:
    return repr([_raw(value) for value in run.inputs])


def _size(value: Value | None) -> int:
    if isinstance(value, Tensor):
        return value.size
    return sum(map(_size, value.items)) if isinstance(value, SequenceValue) else 0


def _elementwise(ask: Ask, drafts: Sequence[Draft]) -> Draft | None:
    """The draft that can be given another shape and shows most: zeros among its results, which
    memory that was not cleared would fill, and many elements."""
    if ask.operator.key not in _ELEMENTWISE:
        return None

    def shows(draft: Draft) -> tuple[bool, bool, int]:
        results = [np.asarray(e) for e in draft.runs[0].expected if not isinstance(e, Tensor)]
        zeros = any(r.dtype != object and 0 < np.count_nonzero(r) < r.size for r in results)
        return not draft.attributes, zeros, _size(draft.runs[0].inputs[0])

    fitting = [d for d in drafts if len(d.runs) == 1 and _carried(d) is not None]
    return max(fitting, key=shows, default=None)


def _carried(draft: Draft) -> tuple[int, ...] | None:
    """The shape of a draft's operands, each with all elements or a scalar; None for other ones."""
    run = draft.runs[0]
    first = run.inputs[0]
    if not isinstance(first, Tensor) or first.size < 3 or draft.constants:
        return None
    for value in run.inputs:
        if value is not None and not (
            isinstance(value, Tensor) and value.shape in ((), first.shape)
        ):
            return None
    if "axis" in draft.attributes or "block_size" in draft.attributes:
        return None
    shapes = [e.shape if isinstance(e, Tensor) else np.shape(e) for e in run.expected]
    return first.shape if all(s == first.shape for s in shapes) else None


def _reshaped(draft: Draft, shape: tuple[int, ...], shift: int) -> Run:
    """The draft's elements from the one at `shift` on, as often as the shape needs."""
    run = draft.runs[0]

    def arranged(values: Array) -> Array:
        return np.asarray(np.resize(np.roll(values.ravel(), -shift), shape))

    return Run(
        tuple(rearranged(value, arranged) for value in run.inputs),
        tuple(
            rearranged(e, arranged) if isinstance(e, Tensor) else arranged(np.asarray(e))
            for e in run.expected
        ),
    )
