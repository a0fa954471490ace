"""Numbers rounded, saturated and converted by another rule than the standard's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from hal import ElementType, Tensor
from hal.contract import Operator
from hal_conformance.contract.numbers import (
    Array,
    bounds,
    is_float,
    is_integer,
    largest,
    narrow,
    widen,
)
from hal_conformance.mutants.arrays import as_operator, wrapped
from hal_conformance.mutants.call import Call, Outputs
from hal_conformance.mutants.fault import Fault, Run, State, any_type, makes, real, rewrite

Rounding = Callable[[Array], Array]


def _half_away(x: Array) -> Array:
    return np.asarray(np.sign(x) * np.floor(np.abs(x) + 0.5))


def _nearest(x: Array) -> Array:
    return np.asarray(np.rint(x))


def _half_up(x: Array) -> Array:
    return np.asarray(np.floor(x + 0.5))


_ROUNDINGS: dict[str, Rounding] = {
    "halves away from zero": _half_away,
    "halves up": _half_up,
    "towards zero": np.trunc,
    "down": np.floor,
}


@makes("wrong rounding")
def roundings(operator: Operator) -> Iterator[Fault]:
    """Halves rounded away from zero or up, fractions cut off."""
    if operator.key == "Round":
        for title, rounding in _ROUNDINGS.items():
            yield Fault(title, _rounded(rounding), any_type)
    if operator.key in _QUANTIZERS:
        for title, rounding in _ROUNDINGS.items():
            yield Fault(title, _quantized(rounding, saturate=True), any_type)
    if operator.key in ("Cast", "CastLike"):
        for title, rounding in {**_ROUNDINGS, "to nearest": _nearest}.items():
            if title != "towards zero":
                yield Fault(f"to integers: {title}", _cast_to_integers(rounding), real)
        yield Fault("to narrower types: cut off", _cast_cut, real)
        yield Fault("to narrower types: halves away from zero", _cast_half_away, real)
        yield Fault("to bool: by way of integers", _cast_to_bool, real)
    if operator.key in ("Div", "Mod"):
        yield Fault("integers: the other direction", _other_division, _signed)


@makes("saturate against wrap")
def saturation(operator: Operator) -> Iterator[Fault]:
    """What does not fit wraps round, or becomes infinite, instead of the nearest number."""
    if operator.key in _QUANTIZERS:
        yield Fault("wraps", _quantized(np.rint, saturate=False), any_type)
    if operator.key == "QuantizeLinear":
        yield Fault("float8: infinity or NaN", _overflows, any_type)
        yield rewrite("the zero point clamped alone", _no_zero_point)
    if operator.key in ("Cast", "CastLike"):
        yield Fault("float8: infinity or NaN", _overflows, any_type)
        yield Fault("float8: saturates always", _saturates, any_type)


def _signed(type_: str) -> bool:
    return type_.startswith("tensor(int")


def _rounded(rounding: Rounding) -> Callable[[Call, Run, State], Outputs | None]:
    def kernel(call: Call, run: Run, state: State) -> Outputs | None:
        x = call.tensor(0)
        return None if x is None else (narrow(rounding(widen(x)), x.element_type),)

    return kernel


Wide = Callable[[Call, Run, Outputs], "tuple[Array, Array] | None"]
"""What is rounded, and the zero point that is added to it."""


def _quantized(
    rounding: Rounding, *, saturate: bool
) -> Callable[[Call, Run, State], Outputs | None]:
    def kernel(call: Call, run: Run, state: State) -> Outputs | None:
        results = run(call)
        first = results[0]
        if not isinstance(first, Tensor) or not is_integer(first.element_type):
            return None
        found = _QUANTIZERS[call.operator.key](call, run, results)
        if found is None:
            return None
        wide, zero = found
        with np.errstate(all="ignore"):
            values = rounding(wide) + zero
        low, high = bounds(first.element_type)
        if saturate:
            values = np.clip(values, low, high)
        values = np.where(np.isfinite(values), values, widen(first).astype(float))
        return (wrapped(values.reshape(first.shape), first.element_type), *results[1:])

    return kernel


def _linear(call: Call, run: Run, results: Outputs) -> tuple[Array, Array] | None:
    x, scale, zero = call.tensor(0), call.tensor(1), call.tensor(2)
    if x is None or scale is None:
        return None
    spread = _spread(call, x.shape, widen(scale))
    if spread is None:
        return None
    zeros = np.zeros(()) if zero is None else _spread(call, x.shape, widen(zero).astype(float))
    with np.errstate(all="ignore"):
        return widen(x).astype(float) / spread, np.asarray(zeros)


def _spread(call: Call, shape: tuple[int, ...], values: Array) -> Array | None:
    """A scale or zero point in the shape of what it scales."""
    if not values.size:
        return None
    if values.ndim == 0 or values.size == 1:
        return values.reshape(())
    axis = int(call.attribute("axis")) % len(shape)
    block = int(call.attribute("block_size") or 0)
    if block:
        return np.repeat(values, block, axis)[
            tuple(slice(0, d) if i == axis else slice(None) for i, d in enumerate(shape))
        ]
    if values.ndim != 1 or len(values) != shape[axis]:
        return None
    return values.reshape([-1 if i == axis else 1 for i in range(len(shape))])


def _dynamic(call: Call, run: Run, results: Outputs) -> tuple[Array, Array] | None:
    x, scale, zero = call.tensor(0), results[1], results[2]
    if x is None or not isinstance(scale, Tensor) or not isinstance(zero, Tensor):
        return None
    return widen(x) / widen(scale), widen(zero).astype(float)


def _matrix(call: Call, run: Run, results: Outputs) -> tuple[Array, Array] | None:
    values = [call.tensor(i) for i in range(8)]
    if any(v is None for v in values):
        return None
    a, sa, za, b, sb, zb, sy, zy = (widen(v).astype(float) for v in values if v is not None)
    if any(s.size != 1 for s in (sa, za, sb, zb, sy, zy)):
        return None
    product = ((a - za.ravel()[0]) * sa.ravel()[0]) @ ((b - zb.ravel()[0]) * sb.ravel()[0])
    return product / sy.ravel()[0], zy.reshape(())


def _convolved(call: Call, run: Run, results: Outputs) -> tuple[Array, Array] | None:
    values = [call.tensor(i) for i in range(8)]
    if any(v is None for v in values):
        return None
    x, sx, zx, w, sw, zw, sy, zy = (widen(v).astype(float) for v in values if v is not None)
    along = (-1, *[1] * (w.ndim - 1))
    real_x = narrow((x - zx) * sx, ElementType.DOUBLE)
    scale = sw.reshape(along) if sw.size > 1 else sw.reshape(())
    zero = zw.reshape(along) if zw.size > 1 else zw.reshape(())
    inputs: list[Any] = [real_x, narrow((w - zero) * scale, ElementType.DOUBLE)]
    bias = call.tensor(8)
    if bias is not None:
        inputs.append(narrow(widen(bias).astype(float) * sx * sw, ElementType.DOUBLE))
    conv = as_operator(
        call, "Conv", inputs=tuple(inputs), outputs=("tensor(double)",), constants=frozenset()
    )
    (result,) = run(conv)
    return (widen(result) / sy, zy.reshape(())) if isinstance(result, Tensor) else None


_QUANTIZERS: dict[str, Wide] = {
    "QuantizeLinear": _linear,
    "DynamicQuantizeLinear": _dynamic,
    "QLinearMatMul": _matrix,
    "QLinearConv": _convolved,
}


def _no_zero_point(call: Call) -> Call | None:
    """The zero point is added after the number is clamped to the range around zero."""
    x, scale, zero = call.tensor(0), call.tensor(1), call.tensor(2)
    if x is None or scale is None or zero is None or not is_integer(zero.element_type):
        return None
    if scale.size != 1:
        return None
    low, high = bounds(zero.element_type)
    limit = float(widen(scale).ravel()[0])
    wide = np.clip(widen(x).astype(float), low * limit, high * limit)
    if not is_float(x.element_type):
        return None
    return call.feeding(0, narrow(wide, x.element_type))


def _cast_to_integers(rounding: Rounding) -> Callable[[Call, Run, State], Outputs | None]:
    def kernel(call: Call, run: Run, state: State) -> Outputs | None:
        x, (right,) = call.tensor(0), run(call)
        if x is None or not isinstance(right, Tensor) or not is_integer(right.element_type):
            return None
        low, high = bounds(right.element_type)
        wide = rounding(widen(x))
        fits = np.isfinite(wide) & (wide >= low) & (wide <= float(high))
        exact = [
            int(w) if ok else int(r)
            for w, r, ok in zip(
                wide.ravel().tolist(), widen(right).ravel().tolist(), fits.ravel(), strict=True
            )
        ]
        clamped = [min(max(v, low), high) for v in exact]
        dtype = np.uint64 if right.element_type is ElementType.UINT64 else np.int64
        return (narrow(np.array(clamped, dtype).reshape(right.shape), right.element_type),)

    return kernel


def _narrowing(call: Call, run: Run) -> tuple[Tensor, Tensor, Array, Array] | None:
    x, (right,) = call.tensor(0), run(call)
    if x is None or not isinstance(right, Tensor) or not real(right.type) or not real(x.type):
        return None
    return x, right, widen(x), widen(right)


def _neighbour(right: Tensor, towards: Array) -> Array:
    """The next number of the type from each element towards another one."""
    dtype = right.element_type.dtype()
    with np.errstate(all="ignore"):
        found = np.nextafter(right.numpy(), towards.astype(dtype))
    return np.asarray(found.astype(np.float64))


def _cast_cut(call: Call, run: Run, state: State) -> Outputs | None:
    found = _narrowing(call, run)
    if found is None:
        return None
    _, right, wide, got = found
    try:
        inner = _neighbour(right, np.zeros_like(got))
    except TypeError:  # ml_dtypes has no nextafter for the smallest types
        return None
    cut = np.where(np.isfinite(wide) & (np.abs(got) > np.abs(wide)), inner, got)
    return (narrow(cut, right.element_type),)


def _cast_half_away(call: Call, run: Run, state: State) -> Outputs | None:
    found = _narrowing(call, run)
    if found is None:
        return None
    _, right, wide, got = found
    top = largest(right.element_type)
    try:
        outer = _neighbour(right, np.copysign(top, got))
    except TypeError:
        return None
    with np.errstate(all="ignore"):
        tie = np.abs(wide - got) == np.abs(outer - wide)
    away = np.where(tie & np.isfinite(wide) & (np.abs(got) < np.abs(wide)), outer, got)
    return (narrow(away, right.element_type),)


def _cast_to_bool(call: Call, run: Run, state: State) -> Outputs | None:
    x, (right,) = call.tensor(0), run(call)
    if x is None or not isinstance(right, Tensor) or right.element_type is not ElementType.BOOL:
        return None
    with np.errstate(all="ignore"):
        return (narrow(np.trunc(np.nan_to_num(widen(x))) != 0, ElementType.BOOL),)


_FLOAT8 = (
    ElementType.FLOAT8E4M3FN,
    ElementType.FLOAT8E4M3FNUZ,
    ElementType.FLOAT8E5M2,
    ElementType.FLOAT8E5M2FNUZ,
)


def _overflows(call: Call, run: Run, state: State) -> Outputs | None:
    return _saturating(call, run, 0)


def _saturates(call: Call, run: Run, state: State) -> Outputs | None:
    return _saturating(call, run, 1)


def _saturating(call: Call, run: Run, flag: int) -> Outputs | None:
    (right,) = run(call)
    if not isinstance(right, Tensor) or right.element_type not in _FLOAT8:
        return None
    return run(call.setting("saturate", flag))


def _other_division(call: Call, run: Run, state: State) -> Outputs | None:
    a, b = call.tensor(0), call.tensor(1)
    if a is None or b is None or call.attribute("fmod") or not (widen(b) != 0).all():
        return None
    x, y = np.broadcast_arrays(widen(a).astype(object), widen(b).astype(object))
    if call.operator.key == "Div":  # towards zero by the standard
        wrong = [p // q for p, q in zip(x.ravel(), y.ravel(), strict=True)]
    else:  # the sign of the divisor
        wrong = [
            abs(p) % abs(q) * (1 if p >= 0 else -1)
            for p, q in zip(x.ravel(), y.ravel(), strict=True)
        ]
    low, high = bounds(a.element_type)
    fitting = [min(max(v, low), high) for v in wrong]
    return (narrow(np.array(fitting, np.int64).reshape(x.shape), a.element_type),)
