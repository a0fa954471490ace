"""Tensors as arrays and back, for kernels that are wrong on purpose."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from hal import ElementType, MapValue, OptionalValue, SequenceValue, Tensor, Value
from hal.contract import contract
from hal_conformance.contract.numbers import (
    Array,
    bounds,
    is_complex,
    is_float,
    is_integer,
    narrow,
    widen,
)
from hal_conformance.mutants.call import Call, Outputs

__all__ = ["as_operator", "cast", "each", "mapped", "rounded_through", "with_bits", "wrapped"]


def with_bits(tensor: Tensor, change: Callable[[Array], Array]) -> Tensor:
    """A tensor whose elements, bit patterns where NumPy lacks the type, a function has changed."""
    return Tensor.from_numpy(np.asarray(change(tensor.bits().copy())), tensor.element_type)


def mapped(value: Value | None, change: Callable[[Tensor], Tensor]) -> Value | None:
    """A value with every tensor in it changed: of a sequence, of an optional, a map's values."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, SequenceValue):
        items = tuple(i for item in value.items if (i := mapped(item, change)) is not None)
        return SequenceValue(value.type, items)
    if isinstance(value, OptionalValue) and value.value is not None:
        return OptionalValue(value.type, mapped(value.value, change))
    if isinstance(value, MapValue):
        return dataclasses.replace(value, values=change(value.values))
    return value


def each(results: Outputs, change: Callable[[Tensor], Tensor]) -> Outputs:
    """Results with every tensor changed."""
    return tuple(mapped(value, change) for value in results)


def wrapped(values: Array, element: ElementType) -> Tensor:
    """A tensor of integers, of those that do not fit the low bits; of other types as they are."""
    if not is_integer(element):
        return narrow(values, element)
    low, _ = bounds(element)
    with np.errstate(all="ignore"):
        whole = np.where(np.isfinite(values), values, 0) if values.dtype.kind == "f" else values
    exact = [(int(v) - low) % (1 << element.bits) + low for v in whole.ravel().tolist()]
    dtype = np.uint64 if element is ElementType.UINT64 else np.int64
    return narrow(np.array(exact, dtype).reshape(np.shape(values)), element)


def cast(tensor: Tensor, element: ElementType) -> Tensor:
    """A tensor's numbers in another type; those that do not fit wrap or become infinite."""
    wide = widen(tensor)
    if element is ElementType.BOOL:
        return narrow(wide != 0, element)
    if wide.dtype == object:
        return tensor
    if is_complex(tensor.element_type) and not is_complex(element):
        wide = wide.real
    if is_integer(element):
        return wrapped(np.trunc(wide) if wide.dtype.kind == "f" else wide, element)
    return narrow(wide, element)


def rounded_through(tensor: Tensor, element: ElementType) -> Tensor:
    """A tensor's numbers after they went through a narrower type of their kind."""
    if is_float(tensor.element_type) or is_integer(tensor.element_type):
        return cast(cast(tensor, element), tensor.element_type)
    return tensor


def as_operator(call: Call, name: str, **changes: Any) -> Call:
    """The call of another operator on the same data."""
    operator = contract().latest(name)
    opsets = dict(call.opsets)
    domain = "" if operator.domain == "ai.onnx" else operator.domain
    opsets[domain] = max(opsets.get(domain, 0), operator.since_version)
    ir = max(call.ir_version, contract().ir_version(opsets))
    return dataclasses.replace(call, operator=operator, opsets=opsets, ir_version=ir, **changes)
