"""Comparisons, logic, and what tells one value from another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from hal.kernels import KernelTable, NodeInfo
from hal_torch.kernels._integers import SIGNED, always, by_type, ordered, signed_view
from hal_torch.kernels._legacy import ATTRIBUTES, aligned
from hal_torch.kernels._narrow import float_values

__all__ = ["table"]

Tensor = torch.Tensor
Host = np.ndarray[Any, np.dtype[Any]]
Function = Callable[..., Any]

table = KernelTable()

_LOGIC: tuple[tuple[str, tuple[int, ...], Function], ...] = (
    ("And", (7,), torch.logical_and),
    ("Or", (7,), torch.logical_or),
    ("Xor", (7,), torch.logical_xor),
    ("Not", (1,), torch.logical_not),
)
for _name, _versions, _function in _LOGIC:
    table.specialized(_name, *_versions)(always(_function))
    if _name != "Not":
        table.specialized(_name, 1, attributes=ATTRIBUTES)(aligned(always(_function)))


@table.kernel("Equal", 19, types={"T": {"string"}}, host_only=True)
def equal_strings(a: Host, b: Host) -> Host:
    """Whether strings are equal, on the host."""
    return np.asarray(np.equal(a, b), dtype=bool)


def _compared(function: Function, view: Function) -> Function:
    return lambda a, b: function(view(a), view(b))


table.specialized("Equal", 7, 11, 13, 19)(by_type(torch.eq, _compared(torch.eq, signed_view)))
_ORDER: tuple[tuple[str, tuple[int, ...], Function], ...] = (
    ("Greater", (7, 9, 13), torch.gt),
    ("Less", (7, 9, 13), torch.lt),
    ("GreaterOrEqual", (12, 16), torch.ge),
    ("LessOrEqual", (12, 16), torch.le),
)
for _name, _versions, _function in _ORDER:
    table.specialized(_name, *_versions)(by_type(_function, _compared(_function, ordered)))
for _name, _function in (("Equal", torch.eq), ("Greater", torch.gt), ("Less", torch.lt)):
    table.specialized(_name, 1, attributes=ATTRIBUTES)(aligned(always(_function)))


@table.specialized("IsNaN", 9, 13, 20)
def is_nan(node: NodeInfo) -> Function:
    """The small types by their float32 values."""
    if "float8" in node.input_types[0]:
        return lambda x: torch.isnan(float_values(x))
    return torch.isnan


@table.specialized("IsInf", 10, 20, attributes=("detect_negative", "detect_positive"))
def is_inf(node: NodeInfo) -> Function:
    """Infinities of the signs that are asked for."""
    positive = bool(node.attributes["detect_positive"])
    negative = bool(node.attributes["detect_negative"])
    if positive and negative:
        found: Function = torch.isinf
    elif positive:
        found = torch.isposinf
    elif negative:
        found = torch.isneginf
    else:
        return lambda x: torch.zeros_like(x, dtype=torch.bool)
    if "float8" in node.input_types[0]:
        return lambda x: found(float_values(x))
    return found


@table.kernel("Where", 9, 16, types={"T": {"string"}}, host_only=True)
def where_strings(condition: Host, x: Host, y: Host) -> Host:
    """A choice of strings, on the host."""
    return np.asarray(np.where(condition, x, y), dtype=object)


def _where(condition: Tensor, x: Tensor, y: Tensor) -> Tensor:
    if x.dtype not in SIGNED:
        return torch.where(condition, x, y)
    return torch.where(condition, signed_view(x), signed_view(y)).view(x.dtype)


table.specialized("Where", 9, 16)(by_type(torch.where, _where, of=1))
