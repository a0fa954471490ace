"""What a fault is, and the table of all of them by kind."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Iterator
from typing import Any

from hal import ElementType, Value
from hal.contract import Operator
from hal_conformance.contract.numbers import is_float, is_integer
from hal_conformance.mutants.call import Call, Outputs

__all__ = [
    "Change",
    "Fault",
    "Kernel",
    "State",
    "any_type",
    "element_of",
    "faults_of",
    "kinds",
    "makes",
    "mistaken",
    "only",
    "real",
    "rewrite",
    "whole",
]

Run = Callable[[Call], Outputs]
Change = Callable[[Call], "Call | None"]


class State:
    """What a faulty kernel keeps: `own` from call to call of one executable, `shared` as long as
    the process lives. `overwritten` are the inputs, by position, into whose memory it wrote."""

    def __init__(self, shared: dict[Any, Any]) -> None:
        self.own: dict[Any, Any] = {}
        self.shared = shared
        self.overwritten: dict[int, Value] = {}


Kernel = Callable[[Call, Run, State], "Outputs | None"]
"""A kernel with a fault: given the call, and the correct engine. None: as the correct one."""


@dataclasses.dataclass(frozen=True)
class Fault:
    """One way in which an operator's kernel can be wrong."""

    name: str
    kernel: Kernel
    types: Callable[[str], bool]
    """Whether kernels of a type (of the operator's first constraint) can have the fault."""


Maker = Callable[[Operator], Iterator[Fault]]
_MAKERS: dict[str, list[Maker]] = {}


def makes(kind: str) -> Callable[[Maker], Maker]:
    """Register what makes an operator's faults of a kind."""

    def register(maker: Maker) -> Maker:
        _MAKERS.setdefault(kind, []).append(maker)
        return maker

    return register


def kinds() -> tuple[str, ...]:
    """The kinds of fault, sorted."""
    _load()
    return tuple(sorted(_MAKERS))


def faults_of(operator: Operator) -> Iterator[tuple[str, Fault]]:
    """Every fault that the operator's kernel can have, with its kind."""
    _load()
    for kind in sorted(_MAKERS):
        for maker in _MAKERS[kind]:
            for fault in maker(operator):
                yield kind, fault


def rewrite(name: str, change: Change, types: Callable[[str], bool] | None = None) -> Fault:
    """A fault that is the correct engine on another call; None leaves the call as it is."""

    def kernel(call: Call, run: Run, state: State) -> Outputs | None:
        changed = change(call)
        return None if changed is None else run(changed)

    return Fault(name, kernel, types or any_type)


def any_type(type_: str) -> bool:
    """Kernels of every type."""
    return True


def element_of(type_: str) -> ElementType | None:
    """The element type of a tensor type string; None for others."""
    if not type_.startswith("tensor("):
        return None
    return ElementType.from_onnx_name(type_[7:-1])


def only(element: ElementType) -> Callable[[str], bool]:
    """Kernels of one element type."""
    name = f"tensor({element.onnx_name})"
    return lambda type_: type_ == name


def real(type_: str) -> bool:
    """Kernels of real numbers."""
    element = element_of(type_)
    return element is not None and is_float(element)


def mistaken(name: str, value: Any, other: Any) -> Change:
    """An attribute that has one value, taken for another."""
    return lambda call: call.setting(name, other) if call.attribute(name) == value else None


def whole(type_: str) -> bool:
    """Kernels of integers."""
    element = element_of(type_)
    return element is not None and is_integer(element)


def _load() -> None:
    importlib.import_module("hal_conformance.mutants.faults")
