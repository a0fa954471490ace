"""Numbers computed, summed or carried in too little precision, and rounded wrongly."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from hal import ElementType, Tensor, Value
from hal.contract import Operator
from hal_conformance.contract.draft import main_constraint
from hal_conformance.contract.numbers import Array, is_float, narrow, widen
from hal_conformance.mutants.arrays import each, rounded_through
from hal_conformance.mutants.call import Call, Outputs
from hal_conformance.mutants.fault import (
    Fault,
    Run,
    State,
    any_type,
    element_of,
    makes,
    only,
    rewrite,
)

_F = ElementType
_MOVING = frozenset(
    ["BitCast", "Cast", "CastLike", "Shape", "Size", "Constant", "IsNaN", "IsInf", "NonZero"]
)
"""Operators whose results no rounding of their inputs tells more of than that of others."""
_THROUGH: dict[ElementType, tuple[ElementType, ...]] = {
    _F.DOUBLE: (_F.FLOAT,),
    _F.FLOAT: (_F.FLOAT16, _F.BFLOAT16),
    _F.FLOAT16: (_F.BFLOAT16,),
    _F.BFLOAT16: (_F.FLOAT8E4M3FN,),
    _F.INT64: (_F.INT32, _F.DOUBLE, _F.FLOAT),
    _F.UINT64: (_F.UINT32, _F.DOUBLE),
    _F.INT32: (_F.FLOAT, _F.INT16),
    _F.UINT32: (_F.FLOAT, _F.UINT16),
    _F.UINT16: (_F.UINT8,),
    _F.INT16: (_F.INT8,),
}
"""Types of fewer digits. One of as many bits is none: there and back, the bits are the same."""


@makes("too little precision")
def through_narrower(operator: Operator) -> Iterator[Fault]:
    """Inputs that go through a narrower type on their way."""
    main = main_constraint(operator)
    if operator.key in _MOVING or main is None or operator.random:
        return
    if not any(p.type == main.name for p in operator.inputs):
        return
    for element, narrower in _THROUGH.items():
        type_ = f"tensor({element.onnx_name})"
        if type_ not in main.types:
            continue
        for other in narrower:
            yield rewrite(
                f"{element.onnx_name} through {other.onnx_name}",
                _through(other),
                only(element),
            )


@makes("inaccurate approximation")
def approximations(operator: Operator) -> Iterator[Fault]:
    """Results of which only 12 bits are right, as of a fast table without a further step."""
    if not operator.outputs or operator.random:
        return
    known = {c.name: c.types for c in operator.constraints}
    results = known.get(operator.outputs[0].type, ())
    main = main_constraint(operator)
    if main is not None and main.name == operator.outputs[0].type:
        for element in (_F.FLOAT, _F.DOUBLE):
            if f"tensor({element.onnx_name})" in results:
                yield Fault(f"{element.onnx_name}: 12 bits right", _twelve_bits, only(element))
    elif any(map(_wide_real, results)):
        yield Fault("12 bits right", _twelve_bits, any_type)


@makes("accumulation in too little precision")
def accumulation(operator: Operator) -> Iterator[Fault]:
    """Sums whose running total is kept in a type with too few digits."""
    adder = _SUMS.get(operator.key)
    if adder is not None:
        for element, low in _LOW.items():
            type_ = f"tensor({element.onnx_name})"
            if operator.constraints and type_ in operator.constraints[0].types:
                yield Fault(
                    f"{element.onnx_name} in {low.onnx_name}",
                    _accumulating(adder, low),
                    only(element),
                )
    linear = _LINEAR.get(operator.key)
    if linear is not None:
        for element, low in _LOW.items():
            type_ = f"tensor({element.onnx_name})"
            if type_ in operator.constraints[0].types:
                yield Fault(
                    f"{element.onnx_name} in {low.onnx_name}",
                    _term_by_term(linear, low),
                    only(element),
                )
        if "tensor(float)" in operator.constraints[0].types:
            yield rewrite("products in tf32", _tf32, only(_F.FLOAT))


_LOW = {
    _F.DOUBLE: _F.FLOAT,
    _F.FLOAT: _F.FLOAT16,
    _F.FLOAT16: _F.FLOAT16,
    _F.BFLOAT16: _F.BFLOAT16,
}


def _wide_real(type_: str) -> bool:
    return type_ in ("tensor(float)", "tensor(double)")


def _through(element: ElementType) -> Callable[[Call], Call | None]:
    def changed(call: Call) -> Call | None:
        found = None
        for i, tensor in list(call.tensors()):
            if i in call.data:
                found = (found or call).feeding(i, rounded_through(tensor, element))
        return found

    return changed


def _twelve_bits(call: Call, run: Run, state: State) -> Outputs:
    def coarse(tensor: Tensor) -> Tensor:
        if not is_float(tensor.element_type):
            return tensor
        wide = widen(tensor)
        with np.errstate(all="ignore"):
            fraction, exponent = np.frexp(wide)
            rounded = np.ldexp(np.round(fraction * 4096) / 4096, exponent)
        return narrow(np.where(np.isfinite(wide), rounded, wide), tensor.element_type)

    return each(run(call), coarse)


def _tf32(call: Call) -> Call | None:
    def short(tensor: Tensor) -> Tensor:
        bits = tensor.bits().copy().view(np.uint32)
        kept = (bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000)
        finite = np.isfinite(tensor.bits())
        return Tensor.from_numpy(np.where(finite, kept, bits).view(np.float32))

    for i, tensor in list(call.tensors())[:2]:
        if tensor.element_type is ElementType.FLOAT:
            call = call.feeding(i, short(tensor))
    return call


Adder = Callable[[Call, Array], "tuple[Array, tuple[int, ...], bool] | None"]
"""What is summed (wide), over which axes, and whether the result keeps them."""


def _accumulating(terms: Adder, low: ElementType) -> Callable[[Call, Run, State], Outputs | None]:
    def kernel(call: Call, run: Run, state: State) -> Outputs | None:
        tensor = call.tensor(0)
        if tensor is None:
            return None
        found = terms(call, widen(tensor))
        if found is None:
            return None
        values, axes, keep = found
        if not axes or not values.size:
            return None
        total = running_sum(values, axes, low)
        if call.operator.key in ("ReduceMean", "GlobalAveragePool"):
            total = total / np.prod([values.shape[a] for a in axes])
        if call.operator.key == "ReduceL2":
            total = np.sqrt(total)
        if call.operator.key == "ReduceLogSum":
            with np.errstate(all="ignore"):
                total = np.log(total)
        result = narrow(total if keep else np.squeeze(total, axes), tensor.element_type)
        return (result, *run(call)[1:])

    return kernel


def running_sum(values: Array, axes: tuple[int, ...], low: ElementType) -> Array:
    """The sum over axes, which stay with extent 1, one term after the other in a narrow type."""
    moved = np.moveaxis(values, axes, range(len(axes)))
    rest = moved.shape[len(axes) :]
    flat = moved.reshape(-1, *rest)
    dtype = low.dtype()
    with np.errstate(all="ignore"):
        total = np.zeros(rest, dtype)
        for term in flat:
            total = (total + term.astype(dtype)).astype(dtype)
    wide = np.asarray(total.astype(np.float64))
    return np.expand_dims(wide, tuple(sorted(axes)))


def _reduction(change: Callable[[Array], Array]) -> Adder:
    def terms(call: Call, values: Array) -> tuple[Array, tuple[int, ...], bool] | None:
        axes = call.tensor(1)
        rank = values.ndim
        if axes is None or not axes.size:
            if call.attribute("noop_with_empty_axes"):
                return None
            over = tuple(range(rank))
        else:
            over = tuple(sorted(int(a) % rank for a in axes.numpy()))
        return change(values), over, bool(call.attribute("keepdims"))

    return terms


_SUMS: dict[str, Adder] = {
    "ReduceSum": _reduction(lambda x: x),
    "ReduceMean": _reduction(lambda x: x),
    "ReduceL1": _reduction(np.abs),
    "ReduceSumSquare": _reduction(np.square),
    "ReduceL2": _reduction(np.square),
    "ReduceLogSum": _reduction(lambda x: x),
    "GlobalAveragePool": lambda call, x: (x, tuple(range(2, x.ndim)), True),
}

Slices = Callable[[Call], "list[Call] | None"]


def _taps(position: int, axes: Callable[[Call, Tensor], tuple[int, ...]]) -> Slices:
    """The call once for each element along the axes of an input that are summed over, everything
    else of the input being zero."""

    def slices(call: Call) -> list[Call] | None:
        tensor = call.tensor(position)
        if tensor is None or not tensor.size:
            return None
        over = axes(call, tensor)
        extents = [tensor.shape[a] for a in over]
        if int(np.prod(extents)) > 400:
            return None
        bits, found = tensor.bits(), []
        for place in np.ndindex(*extents):
            kept = np.zeros_like(bits)
            index: list[int | slice] = [slice(None)] * bits.ndim
            for axis, i in zip(over, place, strict=True):
                index[axis] = i
            kept[tuple(index)] = bits[tuple(index)]
            found.append(call.feeding(position, Tensor.from_numpy(kept, tensor.element_type)))
        return found

    return slices


def _matrix_axes(call: Call, tensor: Tensor) -> tuple[int, ...]:
    if call.operator.key == "Gemm":
        return (1 if call.attribute("transB") else 0,)
    return (max(len(tensor.shape) - 2, 0),)


_LINEAR: dict[str, Slices] = {
    "MatMul": _taps(1, _matrix_axes),
    "Gemm": _taps(1, _matrix_axes),
    "Conv": _taps(1, lambda call, w: tuple(range(1, len(w.shape)))),
    "ConvTranspose": _taps(1, lambda call, w: (0, *range(2, len(w.shape)))),
}


def _term_by_term(slices: Slices, low: ElementType) -> Callable[[Call, Run, State], Outputs | None]:
    def kernel(call: Call, run: Run, state: State) -> Outputs | None:
        bias = call.inputs[2] if len(call.inputs) > 2 else None
        if isinstance(bias, Tensor):
            call = call.feeding(2, None)
        terms = slices(call)
        if terms is None:
            return None
        total: Array | None = None
        dtype = low.dtype()
        with np.errstate(all="ignore"):
            for term in terms:
                (result,) = run(term)
                if not isinstance(result, Tensor):
                    return None
                part = widen(result).astype(dtype)
                total = part if total is None else (total + part).astype(dtype)
        if total is None:
            return None
        wide = np.asarray(total.astype(np.float64))
        if isinstance(bias, Tensor):
            scale = float(call.attribute("beta") or 1.0) if call.operator.key == "Gemm" else 1.0
            added = widen(bias) * scale
            if call.operator.key != "Gemm":
                added = added.reshape(1, -1, *[1] * (wide.ndim - 2))
            wide = wide + added
        element = element_of(call.type)
        value: Value | None = narrow(wide, element) if element else None
        return (value,)

    return kernel
