"""NaN, infinities, subnormals and the sign of zero, lost on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from hal import ElementType, Tensor
from hal.contract import Operator
from hal_conformance.contract.draft import main_constraint
from hal_conformance.contract.draw import has_infinity
from hal_conformance.contract.numbers import (
    Array,
    is_float,
    largest,
    narrow,
    smallest_normal,
    smallest_subnormal,
    widen,
)
from hal_conformance.mutants.arrays import each
from hal_conformance.mutants.call import Call, Outputs
from hal_conformance.mutants.fault import Fault, Run, State, element_of, makes, rewrite

_MOVES = frozenset(
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
"""Operators that move values as they are, subnormal ones too."""


def _has_nan(type_: str) -> bool:
    element = element_of(type_)
    return (
        element is not None
        and is_float(element)
        and element not in (ElementType.FLOAT4E2M1, ElementType.FLOAT6E2M3, ElementType.FLOAT6E3M2)
    )


def _has_infinity(type_: str) -> bool:
    element = element_of(type_)
    return element is not None and has_infinity(element)


def _has_subnormals(type_: str) -> bool:
    element = element_of(type_)
    if element is None or not is_float(element) or element is ElementType.FLOAT8E8M0:
        return False
    return smallest_subnormal(element) < smallest_normal(element)


@makes("NaN dropped")
def no_nan(operator: Operator) -> Iterator[Fault]:
    """NaN that becomes a number: on its way in, or on its way out."""
    main = main_constraint(operator)
    if main is None or operator.random:
        return
    if any(_has_nan(t) for t in main.types):
        if any(p.type == main.name for p in operator.inputs):
            yield rewrite("read as zero", _inputs(_zero_for_nan), _has_nan)
        if any(p.type == main.name for p in operator.outputs):
            yield Fault("written as zero", _outputs(_zero_for_nan), _has_nan)


@makes("infinity dropped")
def no_infinity(operator: Operator) -> Iterator[Fault]:
    """Infinities that become the largest number, or NaN."""
    main = main_constraint(operator)
    if main is None or operator.random or not any(_has_infinity(t) for t in main.types):
        return
    name = main.name
    if any(p.type == name for p in operator.inputs):
        yield rewrite("read as the largest number", _inputs(_largest), _has_infinity)
    if any(p.type == name for p in operator.outputs):
        yield Fault("written as the largest number", _outputs(_largest), _has_infinity)
        yield Fault("written as NaN", _outputs(_not_a_number), _has_infinity)


@makes("subnormals flushed")
def no_subnormals(operator: Operator) -> Iterator[Fault]:
    """Subnormal numbers that become zero where values are only moved."""
    if operator.key in _MOVES:
        yield Fault("written as zero", _outputs(_flushed), _has_subnormals)


Change = Callable[[Array, ElementType], Array]


def _changed(tensor: Tensor, change: Change) -> Tensor:
    if not is_float(tensor.element_type):
        return tensor
    wide = widen(tensor)
    with np.errstate(all="ignore"):
        new = change(wide, tensor.element_type)
    return tensor if new is wide else narrow(new, tensor.element_type)


def _inputs(change: Change) -> Callable[[Call], Call | None]:
    def changed(call: Call) -> Call | None:
        for i, tensor in list(call.tensors()):
            call = call.feeding(i, _changed(tensor, change))
        return call

    return changed


def _outputs(change: Change) -> Callable[[Call, Run, State], Outputs]:
    return lambda call, run, state: each(run(call), lambda tensor: _changed(tensor, change))


def _zero_for_nan(values: Array, element: ElementType) -> Array:
    wrong = np.isnan(values)
    return np.where(wrong, 0.0, values) if wrong.any() else values


def _largest(values: Array, element: ElementType) -> Array:
    wrong = np.isinf(values)
    return np.where(wrong, np.sign(values) * largest(element), values) if wrong.any() else values


def _not_a_number(values: Array, element: ElementType) -> Array:
    wrong = np.isinf(values)
    return np.where(wrong, np.nan, values) if wrong.any() else values


def _flushed(values: Array, element: ElementType) -> Array:
    wrong = (np.abs(values) < smallest_normal(element)) & (values != 0)
    return np.where(wrong, 0.0, values) if wrong.any() else values
