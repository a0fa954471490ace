"""What the evaluator says of a draft's data changed in one place: the tool of derived cases."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from hal import Tensor, Value
from hal.compare import compare
from hal_conformance.contract.draft import Ask, Draft, Run, main_constraint
from hal_conformance.contract.numbers import Array, narrow, value_of, widen
from hal_conformance.contract.oracles import expected_of

__all__ = [
    "Results",
    "ask_evaluator",
    "data_of",
    "differs",
    "fed",
    "formula_of",
    "near",
    "placed",
    "places",
    "plain",
    "smallest",
]

Results = tuple[Value | None, ...]


def plain(draft: Draft) -> bool:
    """Whether the draft is one run of one node that the evaluator is asked of."""
    return (
        len(draft.runs) == 1
        and draft.oracle != "none"
        and draft.judge == "values"
        and not draft.captured
    )


def data_of(ask: Ask, draft: Draft) -> list[int]:
    """The inputs, by position, that hold data of the type asked for."""
    main = main_constraint(ask.operator)
    found = []
    for i, value in enumerate(draft.runs[0].inputs):
        formal = ask.operator.input(i)
        bound = formal is not None and main is not None and formal.type == main.name
        if bound and isinstance(value, Tensor) and value.size and value.type == ask.type:
            found.append(i)
    return found


def smallest(ask: Ask, drafts: Sequence[Draft], least: int = 2, most: int = 600) -> list[Draft]:
    """The drafts that can be probed, those with little data first."""

    def size(draft: Draft) -> int:
        return sum(v.size for v in draft.runs[0].inputs if isinstance(v, Tensor))

    fitting = [d for d in drafts if plain(d) and data_of(ask, d) and least <= size(d) <= most]
    return sorted(fitting, key=lambda d: (bool(d.attributes), size(d)))


def placed(draft: Draft, position: int, at: int, value: float) -> Draft:
    """The draft with another number in one place of an input, and no formula."""
    run = draft.runs[0]
    tensor = run.inputs[position]
    if not isinstance(tensor, Tensor):
        raise TypeError("a number is put into a tensor")
    flat = widen(tensor).ravel()
    flat[at] = value
    return fed(draft, position, flat.reshape(tensor.shape))


def fed(draft: Draft, position: int, values: Array) -> Draft:
    """The draft with other numbers in an input, and no formula."""
    run = draft.runs[0]
    tensor = run.inputs[position]
    if not isinstance(tensor, Tensor):
        raise TypeError("numbers are put into a tensor")
    inputs = list(run.inputs)
    inputs[position] = narrow(values, tensor.element_type)
    return dataclasses.replace(draft, runs=(Run(tuple(inputs)),), twice=False)


def ask_evaluator(ask: Ask, draft: Draft) -> Results | None:
    """The evaluator's results alone; None where it cannot run the draft."""
    bare = dataclasses.replace(draft, runs=(Run(draft.runs[0].inputs),), twice=False)
    try:
        (results,) = expected_of(ask.operator, bare).outputs
    except Exception:  # noqa: BLE001 (the evaluator raises whatever NumPy does)
        return None
    return results


def formula_of(draft: Draft) -> Results | None:
    """The results of the draft's own formula; None where it has none."""
    run = draft.runs[0]
    if not run.expected:
        return None
    return tuple(
        value_of(raw, type_) if type_ else None
        for raw, type_ in zip(run.expected, draft.outputs, strict=True)
    )


def near(draft: Draft, a: Tensor, b: Tensor) -> bool:
    """Whether two results are the same within what the draft allows."""
    rtol = max(draft.tolerance.rtol, draft.reference_error)
    atol = max(draft.tolerance.atol, draft.reference_error)
    return a.shape == b.shape and not compare(a, b, rtol=rtol, atol=atol)


def places(count: int) -> Iterator[int]:
    """Some places among so many elements, the middle first."""
    yield from dict.fromkeys((count // 2, 0, count - 1, count // 3))


def differs(a: Tensor, b: Tensor) -> Array:
    """Where two results of one shape differ, bit by bit."""
    return np.asarray(a.bits() != b.bits())
