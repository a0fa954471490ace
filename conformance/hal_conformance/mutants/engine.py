"""The correct engine that mutants are made of: one call at a time, each run once."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Mapping

from hal import Device, ElementType, Tensor, Value
from hal.backend import Option
from hal.errors import HalError
from hal_conformance.contract.draft import main_constraint
from hal_conformance.contract.numbers import is_float, narrow, widen
from hal_conformance.judge import Compiler
from hal_conformance.mutants.call import Call, Outputs

__all__ = ["Engine"]


_REMEMBERED = 256 << 20
"""Bytes of results; a wrong kernel may give huge ones."""


class Engine:
    """Runs calls on a device. What it ran last is remembered until `forget`, errors too, because
    every mutant of an operator asks for the same correct results."""

    def __init__(
        self, backend: Compiler, device: Device, options: Mapping[str, Option] | None = None
    ) -> None:
        self.device = device
        self._backend, self._options = backend, dict(options or {})
        self._known: OrderedDict[bytes, Outputs | HalError] = OrderedDict()
        self._bytes = 0

    def run(self, call: Call) -> Outputs:
        """The results of a call, by position. Raises what the backend raises."""
        found = self._known.get(call.key)
        if found is None:
            try:
                found = self._run(call)
            except HalError as error:
                # What it was raised in would keep the memory of every call that failed.
                error.__context__ = error.__cause__ = None
                found = error
            self._remember(call.key, found)
        else:
            self._known.move_to_end(call.key)
        if isinstance(found, HalError):
            raise found.with_traceback(None)
        return found

    def _remember(self, key: bytes, found: Outputs | HalError) -> None:
        self._known[key] = found
        self._bytes += _bytes(found)
        while self._bytes > _REMEMBERED:
            self._bytes -= _bytes(self._known.popitem(last=False)[1])

    def run_widened(self, call: Call) -> Outputs | None:
        """The results computed in float64 and rounded once to the types that the call has; None
        for an operator that takes no double there."""
        wide = widened(call)
        if wide is None:
            return None
        results = self.run(wide)
        return tuple(
            narrow(widen(got), ElementType.from_onnx_name(type_[7:-1]))
            if isinstance(got, Tensor) and got.type != type_
            else got
            for got, type_ in zip(results, call.outputs, strict=True)
        )

    def forget(self) -> None:
        """Drop what is remembered."""
        self._known.clear()
        self._bytes = 0

    def _run(self, call: Call) -> Outputs:
        model, inputs = call.model()
        executable = self._backend.compile(self.device, model, self._options)
        results = executable.run(inputs)
        return tuple(results[f"y{i}"] if t else None for i, t in enumerate(call.outputs))


def _bytes(found: Outputs | HalError) -> int:
    if isinstance(found, HalError):
        return 0
    return sum(v.nbytes for v in found if isinstance(v, Tensor))


def widened(call: Call) -> Call | None:
    """The call with its first constraint's real type as double, and all that is bound to it."""
    operator = call.operator
    double = "tensor(double)"
    constraint = main_constraint(operator)
    if constraint is None or not _narrow_real(call.type):
        return None
    containers = any(t and not t.startswith("tensor(") for t in call.outputs)
    if double not in constraint.types or containers:
        return None
    inputs: list[Value | None] = []
    for i, value in enumerate(call.inputs):
        formal = operator.input(i)
        bound = formal is not None and formal.type == constraint.name
        if bound and isinstance(value, Tensor) and value.type == call.type:
            value = narrow(widen(value), ElementType.DOUBLE)
        inputs.append(value)
    outputs = []
    for i, type_ in enumerate(call.outputs):
        formal = operator.output(i)
        bound = formal is not None and formal.type == constraint.name
        outputs.append(double if bound and type_ == call.type else type_)
    return dataclasses.replace(call, inputs=tuple(inputs), outputs=tuple(outputs))


def _narrow_real(type_: str) -> bool:
    if not type_.startswith("tensor(") or type_ == "tensor(double)":
        return False
    return is_float(ElementType.from_onnx_name(type_[7:-1]))
