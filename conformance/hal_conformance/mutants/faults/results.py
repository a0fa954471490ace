"""Results of another type, in another order, or of another shape than they should have."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from hal import ElementType, Tensor, Value
from hal.contract import Operator
from hal.errors import ExecutionError
from hal_conformance.contract.draft import main_constraint
from hal_conformance.contract.numbers import Array
from hal_conformance.mutants.arrays import cast, each, mapped, with_bits
from hal_conformance.mutants.call import Call, Outputs
from hal_conformance.mutants.fault import Fault, Run, State, any_type, makes, rewrite

_F = ElementType
_OTHER = {
    _F.INT64: _F.INT32,
    _F.INT32: _F.INT64,
    _F.INT16: _F.INT32,
    _F.INT8: _F.UINT8,
    _F.UINT8: _F.INT8,
    _F.UINT16: _F.INT32,
    _F.UINT32: _F.INT64,
    _F.UINT64: _F.INT64,
    _F.DOUBLE: _F.FLOAT,
    _F.FLOAT: _F.DOUBLE,
    _F.FLOAT16: _F.FLOAT,
    _F.BFLOAT16: _F.FLOAT,
    _F.BOOL: _F.UINT8,
    _F.COMPLEX64: _F.FLOAT,
    _F.COMPLEX128: _F.DOUBLE,
    _F.FLOAT8E4M3FN: _F.FLOAT,
    _F.FLOAT8E5M2: _F.FLOAT,
    _F.INT4: _F.INT8,
    _F.UINT4: _F.UINT8,
}


@makes("output dtype wrong")
def wrong_type(operator: Operator) -> Iterator[Fault]:
    """The right numbers in another type."""
    for position, parameter in enumerate(operator.outputs):
        if any(t.startswith("tensor(") and t != "tensor(string)" for t in parameter.types):
            yield Fault(parameter.name, _other_type(position), any_type)


@makes("order of outputs")
def wrong_order(operator: Operator) -> Iterator[Fault]:
    """Outputs given for each other, or left empty."""
    if operator.max_outputs < 2 and len(operator.outputs) < 2:
        return
    yield Fault("the first two exchanged", _exchanged, any_type)
    for position, parameter in enumerate(operator.outputs):
        if position:
            yield Fault(f"{parameter.name} is zero", _zero(position), any_type)


@makes("rank and empty dimensions")
def ranks(operator: Operator) -> Iterator[Fault]:
    """Kernels that are written for some ranks only."""
    if operator.random or not any(
        t.startswith("tensor(") for p in operator.outputs for t in p.types
    ):
        return
    yield Fault("a scalar has one dimension", _no_scalars, any_type)
    yield Fault("an empty result has one row", _no_empty, any_type)
    main = main_constraint(operator)
    if main is not None and any(p.type == main.name for p in operator.inputs):
        yield Fault("a scalar is refused", _refusing(_is_scalar), any_type)
        yield Fault("an empty input is refused", _refusing(_is_empty), any_type)
        yield Fault("rank above 4 is refused", _refusing(_is_deep), any_type)


@makes("off by one")
def off_by_one(operator: Operator) -> Iterator[Fault]:
    """The last element along an axis is not looked at: the one before it is read again."""
    for position, parameter in enumerate(operator.inputs):
        if parameter.option != "optional" and any(t.startswith("tensor(") for t in parameter.types):
            for axis, title in ((-1, "last"), (0, "first")):
                yield rewrite(
                    f"{parameter.name}: end of the {title} axis", _repeated(position, axis)
                )
            if operator.max_inputs > len(operator.inputs):
                yield rewrite(f"{parameter.name}: the last one ignored", _short)


@makes("first of several")
def first_only(operator: Operator) -> Iterator[Fault]:
    """Every batch, channel or row gives what the first one does."""
    if operator.random:
        return
    for position, parameter in enumerate(operator.inputs):
        if parameter.option != "optional" and any(t.startswith("tensor(") for t in parameter.types):
            yield rewrite(f"{parameter.name}: its first slice for all", _sliced(position))


def _other_type(position: int) -> Callable[[Call, Run, State], Outputs]:
    def kernel(call: Call, run: Run, state: State) -> Outputs:
        results = list(run(call))
        if position < len(results):
            results[position] = (
                mapped(results[position], lambda t: cast(t, _OTHER.get(t.element_type, _F.FLOAT)))
                if _has_other(results[position])
                else results[position]
            )
        return tuple(results)

    return kernel


def _has_other(value: Value | None) -> bool:
    return isinstance(value, Tensor) and value.element_type is not _F.STRING


def _exchanged(call: Call, run: Run, state: State) -> Outputs | None:
    results = run(call)
    if len(results) < 2 or results[0] is None or results[1] is None:
        return None
    return (results[1], results[0], *results[2:])


def _zero(position: int) -> Callable[[Call, Run, State], Outputs | None]:
    def kernel(call: Call, run: Run, state: State) -> Outputs | None:
        results = list(run(call))
        if position >= len(results) or not isinstance(results[position], Tensor):
            return None
        results[position] = mapped(results[position], lambda t: with_bits(t, np.zeros_like))
        return tuple(results)

    return kernel


def _no_scalars(call: Call, run: Run, state: State) -> Outputs:
    return each(run(call), lambda t: t if t.shape else Tensor(t.element_type, (1,), t.data))


def _no_empty(call: Call, run: Run, state: State) -> Outputs:
    def one_row(tensor: Tensor) -> Tensor:
        if tensor.size or tensor.element_type is _F.STRING:
            return tensor
        shape = tuple(d or 1 for d in tensor.shape)
        return Tensor.from_numpy(np.zeros(shape, tensor.bits().dtype), tensor.element_type)

    return each(run(call), one_row)


def _is_scalar(tensor: Tensor) -> bool:
    return not tensor.shape


def _is_empty(tensor: Tensor) -> bool:
    return not tensor.size


def _is_deep(tensor: Tensor) -> bool:
    return len(tensor.shape) > 4


def _refusing(condition: Callable[[Tensor], bool]) -> Callable[[Call, Run, State], Outputs | None]:
    def kernel(call: Call, run: Run, state: State) -> Outputs | None:
        for tensor in call.parts(call.data):
            if condition(tensor):
                raise ExecutionError(f"{call.operator.name}: no kernel for shape {tensor.shape}")
        return None

    return kernel


def _repeated(position: int, axis: int) -> Callable[[Call], Call | None]:
    def changed(call: Call) -> Call | None:
        tensor = call.tensor(position)
        if tensor is None or not tensor.shape or tensor.shape[axis] < 2 or not tensor.size:
            return None
        if axis == 0 and len(tensor.shape) < 2:
            return None

        def change(bits: Array) -> Array:
            moved = np.moveaxis(bits, axis, 0)
            moved[-1] = moved[-2]
            return bits

        return call.feeding(position, with_bits(tensor, change))

    return changed


def _short(call: Call) -> Call | None:
    import dataclasses

    if len(call.inputs) < 3:
        return None
    return dataclasses.replace(call, inputs=call.inputs[:-1])


def _sliced(position: int) -> Callable[[Call], Call | None]:
    def changed(call: Call) -> Call | None:
        tensor = call.tensor(position)
        if tensor is None or not tensor.shape or tensor.shape[0] < 2:
            return None

        def change(bits: Array) -> Array:
            bits[1:] = bits[:1]
            return bits

        return call.feeding(position, with_bits(tensor, change))

    return changed
