"""Operators that move elements, on every kind of element: NaN, infinities, subnormals, extremes.

Where the elements go is asked of ONNX's reference evaluator with the numbers 1, 2, 3 ... as data,
and is taken only if it explains the results that the family's own formula gave.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from hal import ElementType, Tensor, Value
from hal.compare import compare
from hal_conformance.contract.draft import Ask, Draft, Run
from hal_conformance.contract.draw import edges
from hal_conformance.contract.numbers import Array, is_float, narrow, value_of
from hal_conformance.contract.oracles import expected_of

__all__ = ["MOVING", "special"]

MOVING = frozenset(
    [
        "CenterCropPad",
        "Compress",
        "Concat",
        "DepthToSpace",
        "Expand",
        "Flatten",
        "Gather",
        "GatherElements",
        "GatherND",
        "Identity",
        "Pad",
        "Reshape",
        "ReverseSequence",
        "ScatterElements",
        "ScatterND",
        "Slice",
        "SpaceToDepth",
        "Split",
        "Squeeze",
        "TensorScatter",
        "Tile",
        "Transpose",
        "Trilu",
        "Unsqueeze",
        "Where",
    ]
)


def special(ask: Ask, drafts: Sequence[Draft]) -> Iterator[Draft]:
    """The largest of an ask's drafts with every kind of element as its data."""
    if ask.operator.key not in MOVING:
        return
    fitting = [d for d in drafts if d.oracle != "none" and len(d.runs) == 1 and _moved(ask, d)]
    fitting = [d for d in fitting if d.attributes.get("reduction", "none") == "none"]
    for draft in sorted(fitting, key=lambda d: -sum(map(len, _pools(ask, d)))):
        runs = _rewritten(ask, draft)
        if runs:
            yield dataclasses.replace(draft, slug="special", runs=runs)
            return


def _moved(ask: Ask, draft: Draft) -> list[int]:
    """The inputs whose elements are moved, by position."""
    found = []
    for i, value in enumerate(draft.runs[0].inputs):
        formal = ask.operator.input(i)
        bound = formal is not None and formal.type == ask.constraint
        if bound and isinstance(value, Tensor) and i not in draft.constants:
            found.append(i)
    return found


def _pools(ask: Ask, draft: Draft) -> list[Array]:
    inputs = draft.runs[0].inputs
    return [v.bits().ravel() for i in _moved(ask, draft) if isinstance(v := inputs[i], Tensor)]


def _rewritten(ask: Ask, draft: Draft) -> tuple[Run, ...]:
    """The draft's run with other elements, as often as all of them need to be moved; none where the
    evaluator differs from its results."""
    run, moved = draft.runs[0], _moved(ask, draft)
    bits = np.concatenate(_pools(ask, draft))
    numbers = np.arange(1, len(bits) + 1, dtype=np.int64)
    asked = dataclasses.replace(
        draft,
        runs=(Run(_with(run, moved, numbers, ElementType.INT64)),),
        outputs=tuple("tensor(int64)" if t == ask.type else t for t in draft.outputs),
    )
    try:
        (places,) = expected_of(ask.operator, asked).outputs
    except Exception:  # noqa: BLE001 (the evaluator raises whatever NumPy does)
        return ()
    shown = {int(at) for p in places if isinstance(p, Tensor) for at in p.bits().ravel() if at > 0}
    hard = edges(ask.element, nan=is_float(ask.element) and ask.element.bits > 4)
    runs: list[Run] = []
    missing = set(range(len(hard)))
    for shift in range(len(hard)):
        chosen = np.resize(np.roll(np.arange(len(hard)), -shift), len(bits))
        seen = {int(chosen[at - 1]) for at in shown}
        if missing & seen:
            missing -= seen
            made = _run(ask, draft, places, narrow(hard[chosen], ask.element).bits())
            if made is None:
                return ()
            runs.append(made)
    return tuple(runs)


def _run(ask: Ask, draft: Draft, places: Sequence[Value | None], others: Array) -> Run | None:
    run, moved = draft.runs[0], _moved(ask, draft)
    bits = np.concatenate(_pools(ask, draft))
    expected: list[Value | None] = []
    for raw, place, type_ in zip(run.expected, places, draft.outputs, strict=True):
        own = value_of(raw, type_) if type_ else None
        if type_ != ask.type or not isinstance(own, Tensor) or not isinstance(place, Tensor):
            expected.append(own)
            continue
        at, result = place.bits(), own.bits()
        if at.shape != result.shape:
            return None
        explained = np.where(at > 0, bits[at - 1], result)
        if compare(own, Tensor.from_numpy(explained, ask.element), rtol=0, atol=0):
            return None
        expected.append(Tensor.from_numpy(np.where(at > 0, others[at - 1], result), ask.element))
    return Run(_with(run, moved, others, ask.element), tuple(expected)) if run.expected else None


def _with(
    run: Run, moved: Sequence[int], data: Array, element: ElementType
) -> tuple[Value | None, ...]:
    inputs, start = list(run.inputs), 0
    for i in moved:
        value = inputs[i]
        if isinstance(value, Tensor):
            part = data[start : start + value.size].reshape(value.shape)
            inputs[i] = Tensor.from_numpy(part, element)
            start += value.size
    return tuple(inputs)
