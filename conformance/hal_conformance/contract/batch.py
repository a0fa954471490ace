"""More of the same data, and none of it: where an operator does the same again and again."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hal import SequenceValue, Tensor, Value
from hal.compare import compare
from hal_conformance.contract.draft import Ask, Draft, Run
from hal_conformance.contract.numbers import Array
from hal_conformance.contract.oracles import expected_of

__all__ = ["Batch", "batch_of", "rearranged", "shape_of"]


@dataclasses.dataclass(frozen=True)
class Batch:
    """A run with more, and with none, of what it does the same with again and again."""

    larger: Run
    empty: Run | None
    """None where a result says something of the batch as a whole, as of its largest element."""


def batch_of(ask: Ask, draft: Draft) -> Batch | None:
    """The first run with an axis of its inputs some times as long, the data being repeated, where
    that repeats the results: so it is if the evaluator says so. None where no axis is such a one.
    """
    run = draft.runs[0]
    alone = dataclasses.replace(draft, runs=(run,), twice=False)
    free = [
        i
        for i, v in enumerate(run.inputs)
        if isinstance(v, Tensor) and v.size and i not in draft.constants
    ]
    if draft.oracle == "none" or not free or ask.operator.key == "AffineGrid":  # size has the batch
        return None
    verdict = expected_of(ask.operator, alone)
    (results,) = verdict.outputs
    times = _times(results[0])
    if verdict.disputed or not times:
        return None
    for axis in (0, 1, -1):
        extents = {i: _extent(run.inputs[i], axis) for i in free}
        alike = tuple(i for i in free if extents[i] == extents[free[0]])
        for carriers in dict.fromkeys((tuple(free[:1]), alike)) if extents[free[0]] else ():

            def longer(count: int, axis: int = axis, of: tuple[int, ...] = carriers) -> Any:
                return tuple(
                    _times_as_long(v, axis, count) if i in of else v
                    for i, v in enumerate(run.inputs)
                )

            trial = dataclasses.replace(alone, runs=(Run(longer(times)),))
            try:
                (given,) = expected_of(ask.operator, trial).outputs
            except Exception:  # noqa: BLE001, S112 (the evaluator raises whatever NumPy does)
                continue
            pairs = list(zip(results, given, strict=True))
            axes = [_longer_axis(a, b) for a, b in pairs]
            known = all(
                _is_repeated(a, b, k, times, draft) for (a, b), k in zip(pairs, axes, strict=True)
            )
            if not known or all(k is None for k in axes):
                continue
            larger = Run(longer(times), _along(results, axes, times) if run.expected else ())
            each = all(k is not None for k in axes)
            return Batch(larger, Run(longer(0), _along(results, axes, 0)) if each else None)
    return None


def _along(results: Sequence[Value | None], axes: Sequence[int | None], count: int) -> Any:
    return tuple(
        result if axis is None else _times_as_long(result, axis, count)
        for result, axis in zip(results, axes, strict=True)
    )


def _times(result: Value | None) -> int:
    """How often to repeat, so that more than a vector of 16 elements and a part of one come out."""
    if not isinstance(result, Tensor) or not result.size:
        return 0
    sizes = {times: times * result.size for times in (2, 3, 5, 7, 9, 17)}
    return next((times for times, size in sizes.items() if size > 16 and size % 4), 2)


def _extent(value: Value | None, axis: int) -> int:
    shape = shape_of(value) or ()
    return shape[axis] if -len(shape) <= axis < len(shape) else 0


def _times_as_long(value: Value | None, axis: int, count: int) -> Value | None:
    return rearranged(
        value,
        lambda bits: np.concatenate([bits] * count, axis) if count else np.take(bits, [], axis),
    )


def _longer_axis(result: Value | None, given: Value | None) -> int | None:
    if isinstance(result, Tensor) and isinstance(given, Tensor):
        for axis, (a, b) in enumerate(zip(result.shape, given.shape, strict=False)):
            if a != b:
                return axis
    return None


def _is_repeated(
    result: Value | None, given: Value | None, axis: int | None, times: int, draft: Draft
) -> bool:
    """Whether what the evaluator gives for more data is the result as many times as often."""
    if not isinstance(result, Tensor) or not isinstance(given, Tensor):
        return False
    repeated = result if axis is None else _times_as_long(result, axis, times)
    tolerance = draft.tolerance
    rtol = max(tolerance.rtol, draft.reference_error)
    atol = max(tolerance.atol, draft.reference_error)
    if not isinstance(repeated, Tensor) or repeated.shape != given.shape:
        return False
    return not compare(repeated, given, rtol=rtol, atol=atol)


def shape_of(value: Value | None) -> Any:
    """The shape of a tensor, those of a sequence's items; None for other values."""
    if isinstance(value, Tensor):
        return value.shape
    return tuple(map(shape_of, value.items)) if isinstance(value, SequenceValue) else None


def rearranged(value: Value | None, change: Callable[[Array], Array]) -> Value | None:
    """A tensor with its elements put elsewhere by a function; scalars and other values as is."""
    if not isinstance(value, Tensor) or not value.shape:
        return value
    return Tensor.from_numpy(change(value.bits()), value.element_type)
