"""Wrong axes, and elements taken in the wrong order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from hal import ElementType, Tensor, Value
from hal.contract import Operator
from hal_conformance.mutants.call import Call, Outputs
from hal_conformance.mutants.fault import Fault, Run, State, any_type, makes, rewrite

_NAMES = ("axis", "axes", "batch_axis", "time_axis", "scan_input_axes", "scan_output_axes")
_ORDERED = frozenset({"Slice", "Pad", "CenterCropPad", "Resize"})
"""Operators in which each axis goes with a number of its own."""

Rule = Callable[[int, int], int]
_RULES: dict[str, Rule] = {
    "the next one": lambda axis, rank: (axis % rank + 1) % rank,
    "a negative one is the first": lambda axis, rank: max(axis, 0),
    "a negative one off by one": lambda axis, rank: axis if axis >= 0 else (axis + rank - 1) % rank,
}


@makes("wrong axis")
def wrong_axis(operator: Operator) -> Iterator[Fault]:
    """Another axis is taken."""
    for attribute in operator.attributes:
        if attribute.name in _NAMES:
            for title, rule in _RULES.items():
                yield rewrite(f"{attribute.name}: {title}", _by_attribute(attribute.name, rule))
    for position, parameter in enumerate(operator.inputs):
        if parameter.name in ("axis", "axes"):
            for title, rule in _RULES.items():
                yield rewrite(f"{parameter.name}: {title}", _by_input(position, rule))
            if parameter.name == "axes" and operator.key not in ("Unsqueeze",):
                yield rewrite("axes: only the first", _first_axis(position))
            if operator.key in _ORDERED:
                yield rewrite("axes: as if sorted", _sorted_axes(position))
    if operator.attribute("perm"):
        yield rewrite("perm: the inverse", _permuted(lambda p: list(np.argsort(p))))
        yield rewrite("perm: reversed", _permuted(lambda p: list(p)[::-1]))
    if operator.key == "Resize":
        yield rewrite("axes: as if sorted", _sorted_attribute)


@makes("wrong layout")
def wrong_layout(operator: Operator) -> Iterator[Fault]:
    """Columns are read or written where rows should be: the shape is right, the order is not."""
    for position, parameter in enumerate(operator.inputs):
        if parameter.option != "optional" and _of_tensors(parameter.types):
            yield rewrite(f"{parameter.name} read by columns", _transposed(position))
    if operator.outputs and _of_tensors(operator.outputs[0].types) and not operator.random:
        yield Fault("result written by columns", _columns_out, any_type)


def _of_tensors(types: Sequence[str]) -> bool:
    return any(t.startswith("tensor(") for t in types)


def _rank(call: Call) -> int:
    tensor = next(call.parts(), None)
    return len(tensor.shape) if tensor is not None else 0


def _by_attribute(name: str, rule: Rule) -> Callable[[Call], Call | None]:
    def changed(call: Call) -> Call | None:
        value, rank = call.attribute(name), _rank(call)
        if value is None or not rank:
            return None
        wrong: Any = rule(value, rank) if isinstance(value, int) else [rule(v, rank) for v in value]
        same = wrong == value if isinstance(value, int) else wrong == list(value)
        return None if same else call.setting(name, wrong)

    return changed


def _by_input(position: int, rule: Rule) -> Callable[[Call], Call | None]:
    def changed(call: Call) -> Call | None:
        axes, rank = call.tensor(position), _rank(call)
        if axes is None or not rank or not axes.size:
            return None
        if call.operator.key == "Unsqueeze":
            rank += axes.size
        wrong = np.array([rule(int(v), rank) for v in axes.numpy().ravel()])
        return call.feeding(position, _integers(wrong.reshape(axes.shape), axes.element_type))

    return changed


def _first_axis(position: int) -> Callable[[Call], Call | None]:
    def changed(call: Call) -> Call | None:
        axes = call.tensor(position)
        if axes is None or axes.size < 2 or call.operator.key in _ORDERED:
            return None
        return call.feeding(position, _integers(axes.numpy()[:1], axes.element_type))

    return changed


def _sorted_axes(position: int) -> Callable[[Call], Call | None]:
    def changed(call: Call) -> Call | None:
        axes, rank = call.tensor(position), _rank(call)
        if axes is None or axes.size < 2:
            return None
        return call.feeding(
            position, _integers(np.sort(axes.numpy() % max(rank, 1)), axes.element_type)
        )

    return changed


def _sorted_attribute(call: Call) -> Call | None:
    axes, rank = call.attribute("axes"), _rank(call)
    return call.setting("axes", sorted(a % rank for a in axes)) if axes and rank else None


def _permuted(change: Callable[[Sequence[int]], list[int]]) -> Callable[[Call], Call | None]:
    def changed(call: Call) -> Call | None:
        perm = call.attribute("perm")
        return call.setting("perm", [int(p) for p in change(perm)]) if perm else None

    return changed


def _transposed(position: int) -> Callable[[Call], Call | None]:
    def changed(call: Call) -> Call | None:
        tensor = call.tensor(position)
        if tensor is None or len(tensor.shape) < 2:
            return None
        return call.feeding(position, _by_columns(tensor))

    return changed


def _columns_out(call: Call, run: Run, state: State) -> Outputs | None:
    results = list(run(call))
    first = results[0]
    if not isinstance(first, Tensor) or len(first.shape) < 2:
        return None
    results[0] = _by_columns(first)
    return tuple(results)


def _by_columns(tensor: Tensor) -> Value:
    bits = tensor.bits()
    return Tensor.from_numpy(np.swapaxes(bits, -1, -2).reshape(bits.shape), tensor.element_type)


def _integers(values: Any, element: ElementType) -> Tensor:
    return Tensor.from_numpy(np.asarray(values).astype(element.storage), element)
