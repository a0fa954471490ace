"""Kernels that remember what they should not, or write where they should not."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from hal import Tensor, Value
from hal.contract import Operator
from hal_conformance.contract.numbers import Array
from hal_conformance.mutants.arrays import mapped, with_bits
from hal_conformance.mutants.call import Call, Outputs
from hal_conformance.mutants.fault import Fault, Run, State, any_type, makes


@makes("stale cache on a new shape")
def stale(operator: Operator) -> Iterator[Fault]:
    """What was worked out for the first call's shapes is used for other shapes too."""
    if operator.random or not _takes_tensors(operator):
        return
    yield Fault("the output's shape", _first_shape, any_type)
    yield Fault("the number of elements", _first_count, any_type)
    if len(operator.inputs) > 1 or operator.max_inputs > 1:
        yield Fault("the other inputs", _first_inputs, any_type)


@makes("result depends on the previous call")
def previous(operator: Operator) -> Iterator[Fault]:
    """Results of an earlier call, or memory that was not cleared after it."""
    if operator.random or not operator.outputs:
        return
    if _takes_tensors(operator):
        yield Fault("the same shapes, the same result", _same_again, any_type)
        yield Fault("zeros show the last result", _scratch, any_type)
    yield Fault("the second call gives the first result's bits", _second_call, any_type)


@makes("input overwritten")
def overwritten(operator: Operator) -> Iterator[Fault]:
    """A kernel that works in its input's memory."""
    if operator.random:
        return
    for position, parameter in enumerate(operator.inputs):
        if parameter.option != "optional" and any(t.startswith("tensor(") for t in parameter.types):
            yield Fault(parameter.name, _overwriting(position), any_type)


@makes("uninitialised tail")
def tail(operator: Operator) -> Iterator[Fault]:
    """The elements that are left over after the last whole vector are not written."""
    if operator.random or not _gives_tensors(operator):
        return
    for width in (4, 16):
        yield Fault(f"vectors of {width}", _outputs(_tail(width)), any_type)
    yield Fault("the last element", _outputs(_last), any_type)
    yield Fault("the first row alone", _outputs(_first_row), any_type)


def _takes_tensors(operator: Operator) -> bool:
    return any("tensor" in t for p in operator.inputs for t in p.types)


def _gives_tensors(operator: Operator) -> bool:
    return any("tensor" in t for p in operator.outputs for t in p.types)


def _first_shape(call: Call, run: Run, state: State) -> Outputs:
    results = run(call)
    shapes = [v.shape if isinstance(v, Tensor) else None for v in results]
    first = state.own.setdefault("shapes", shapes)
    return tuple(
        _reshaped(value, shape) if isinstance(value, Tensor) and shape is not None else value
        for value, shape in zip(results, first, strict=False)
    )


def _reshaped(value: Tensor, shape: tuple[int, ...]) -> Value:
    return value if value.shape == shape else with_bits(value, lambda bits: np.resize(bits, shape))


def _first_count(call: Call, run: Run, state: State) -> Outputs:
    results = run(call)
    counts = [v.size if isinstance(v, Tensor) else 0 for v in results]
    first = state.own.setdefault("counts", counts)
    return tuple(
        with_bits(value, _beyond(count)) if isinstance(value, Tensor) else value
        for value, count in zip(results, first, strict=False)
    )


def _beyond(count: int) -> Callable[[Array], Array]:
    def change(bits: Array) -> Array:
        flat = bits.ravel()
        flat[count:] = _garbage(flat[count:])
        return np.asarray(flat.reshape(bits.shape))

    return change


def _first_inputs(call: Call, run: Run, state: State) -> Outputs | None:
    known = state.own.setdefault("inputs", call.inputs)
    changed = call
    for i in range(1, min(len(known), len(call.inputs))):
        changed = changed.feeding(i, known[i])
    return run(changed)


def _same_again(call: Call, run: Run, state: State) -> Outputs:
    key = tuple((v.type, getattr(v, "shape", None)) if v is not None else None for v in call.inputs)
    results = run(call)
    kept: Outputs = state.own.setdefault(key, results)
    return kept


def _scratch(call: Call, run: Run, state: State) -> Outputs:
    results = run(call)
    key = tuple((v.type, v.shape) if isinstance(v, Tensor) else None for v in results)
    before = state.own.get(key)
    state.own[key] = results
    if before is None:
        return results
    return tuple(
        _where_zero(value, old) if isinstance(value, Tensor) and isinstance(old, Tensor) else value
        for value, old in zip(results, before, strict=True)
    )


def _where_zero(value: Tensor, old: Tensor) -> Value:
    previous = old.bits()
    return with_bits(value, lambda bits: np.where(_is_zero(bits), previous, bits))


def _is_zero(bits: Array) -> Array:
    return np.asarray(bits == ("" if bits.dtype == object else 0))


def _second_call(call: Call, run: Run, state: State) -> Outputs:
    results = run(call)
    state.own["calls"] = state.own.get("calls", 0) + 1
    if state.own["calls"] == 1:
        return results
    return tuple(mapped(value, lambda t: with_bits(t, _garbage)) for value in results)


def _overwriting(position: int) -> Callable[[Call, Run, State], Outputs]:
    def kernel(call: Call, run: Run, state: State) -> Outputs:
        results = run(call)
        value = call.inputs[position] if position < len(call.inputs) else None
        if isinstance(value, Tensor):
            state.overwritten[position] = with_bits(value, _garbage)
        return results

    return kernel


def _outputs(change: Callable[[Array], Array]) -> Callable[[Call, Run, State], Outputs]:
    def kernel(call: Call, run: Run, state: State) -> Outputs:
        return tuple(mapped(v, lambda t: with_bits(t, change)) for v in run(call))

    return kernel


def _tail(width: int) -> Callable[[Array], Array]:
    def change(bits: Array) -> Array:
        flat = bits.ravel()
        left = flat.size % width
        if left and flat.size > width:
            flat[-left:] = _garbage(flat[-left:])
        return np.asarray(flat.reshape(bits.shape))

    return change


def _last(bits: Array) -> Array:
    flat = bits.ravel()
    if flat.size:
        flat[-1:] = _garbage(flat[-1:])
    return np.asarray(flat.reshape(bits.shape))


def _first_row(bits: Array) -> Array:
    if bits.ndim > 1 and len(bits) > 1:
        bits[1:] = _garbage(bits[1:])
    return bits


def _garbage(values: Array) -> Array:
    """Other values of the same type: what lay in the memory."""
    if values.dtype == object:
        others = np.array([f"{v}?" for v in values.ravel().tolist()], dtype=object)
        return np.asarray(others.reshape(values.shape))
    if values.dtype == np.bool_:
        return np.asarray(~values)
    if values.dtype.kind == "c":
        return np.asarray(values + 1)
    if values.dtype.kind == "f":
        with np.errstate(all="ignore"):
            other = np.where(values == -1, 3, values * 2 + 1)
            return np.asarray(np.where(np.isfinite(values), other, 0).astype(values.dtype))
    # Bit patterns of small floats too: another low bit alone may be within the tolerance.
    octets = np.full(values.dtype.itemsize, 0x55, np.uint8).view(values.dtype)[0]
    return np.asarray(values ^ octets)
