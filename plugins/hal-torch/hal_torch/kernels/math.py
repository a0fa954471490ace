"""Elementwise arithmetic, variadic operators, and cumulative sums and products."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from hal.errors import UnsupportedError
from hal.kernels import KernelTable, NodeInfo
from hal_torch.kernels._integers import (
    SIGNED,
    always,
    by_type,
    divide,
    from_ordered,
    modular,
    ordered,
    remainder,
    signed_view,
    widest_float,
)
from hal_torch.kernels._legacy import ATTRIBUTES, aligned

__all__ = ["table"]

Tensor = torch.Tensor
Function = Callable[..., Any]

table = KernelTable()

_HALF = (torch.float16, torch.bfloat16)
_INTEGERS = tuple(f"tensor({s}int{b})" for s in ("", "u") for b in (8, 16, 32, 64))


def _sign(x: Tensor) -> Tensor:
    """NaN stays, as in NumPy; torch makes it 0."""
    if x.dtype in SIGNED:
        return (x != 0).to(x.dtype)
    if not x.dtype.is_floating_point:
        return torch.sign(x)
    return torch.where(x.isnan(), x, torch.sign(x))


def _erf(x: Tensor) -> Tensor:
    """Of integers too, in versions before 13."""
    if x.dtype.is_floating_point:
        return torch.erf(x)
    return torch.erf(x.to(torch.float32)).to(x.dtype)


_UNARY: tuple[tuple[str, tuple[int, ...], Function], ...] = (
    ("Ceil", (6, 13), torch.ceil),
    ("Floor", (6, 13), torch.floor),
    ("Round", (11, 22), torch.round),  # halves to even, as the standard wants
    ("Exp", (6, 13), torch.exp),
    ("Log", (6, 13), torch.log),
    ("Sqrt", (6, 13), torch.sqrt),
    ("Reciprocal", (6, 13), torch.reciprocal),
    ("Neg", (6, 13), torch.neg),
    ("Sin", (7, 22), torch.sin),
    ("Cos", (7, 22), torch.cos),
    ("Tan", (7, 22), torch.tan),
    ("Asin", (7, 22), torch.asin),
    ("Acos", (7, 22), torch.acos),
    ("Atan", (7, 22), torch.atan),
    ("Sinh", (9, 22), torch.sinh),
    ("Cosh", (9, 22), torch.cosh),
    ("Asinh", (9, 22), torch.asinh),
    ("Acosh", (9, 22), torch.acosh),
    ("Atanh", (9, 22), torch.atanh),
    ("Erf", (13,), torch.erf),
    ("Erf", (9,), _erf),
    ("Sign", (9, 13), _sign),
)
for _name, _versions, _function in _UNARY:
    table.specialized(_name, *_versions)(always(_function))

table.specialized("Abs", 6, 13)(
    by_type(torch.abs, lambda x: x if x.dtype in SIGNED else torch.abs(x))
)
_MODULAR: tuple[tuple[str, tuple[int, ...], Function], ...] = (
    ("Add", (7, 13, 14), torch.add),
    ("Sub", (7, 13, 14), torch.sub),
    ("Mul", (7, 13, 14), torch.mul),
)
for _name, _versions, _function in _MODULAR:
    table.specialized(_name, *_versions)(by_type(_function, modular(_function)))
    table.specialized(_name, 1, 6, attributes=(*ATTRIBUTES, "consumed_inputs"))(
        aligned(by_type(_function, modular(_function)))
    )


@table.specialized("Div", 7, 13, 14)
def div(node: NodeInfo) -> Function:
    """Integers are truncated toward zero."""
    type_ = node.input_types[0]
    if type_ and type_ not in _INTEGERS:
        return torch.div
    divisor = node.constants[1]
    if type_ in ("tensor(int32)", "tensor(int64)", "tensor(int8)", "tensor(int16)"):
        if divisor is not None and not bool(((divisor == 0) | (divisor == -1)).any()):
            return functools.partial(torch.div, rounding_mode="trunc")
        return divide
    return lambda a, b: torch.div(a, b) if a.dtype.is_floating_point else divide(a, b)


@table.specialized("Mod", 10, 13, 28, attributes=("fmod",))
def mod(node: NodeInfo) -> Function:
    """The remainder takes the sign of the divisor, with `fmod` that of the dividend."""
    truncated = bool(node.attributes["fmod"])

    def run(a: Tensor, b: Tensor) -> Tensor:
        if not a.dtype.is_floating_point:
            return remainder(a, b, truncated=truncated)
        if truncated:
            return _in_float(torch.fmod, a, b)
        return _in_float(_floor_mod, a, b)

    return run


def _in_float(function: Function, a: Tensor, b: Tensor) -> Tensor:
    """In float32 for half precision, rounded once."""
    if a.dtype in _HALF:
        half: Tensor = function(a.float(), b.float()).to(a.dtype)
        return half
    found: Tensor = function(a, b)
    return found


def _floor_mod(a: Tensor, b: Tensor) -> Tensor:
    """A remainder of zero has the sign of the divisor; torch gives it the dividend's."""
    found = torch.remainder(a, b)
    return torch.where(found == 0, torch.copysign(found, b), found)


@table.specialized("Pow", 7, 12, 13, 15)
def pow_(node: NodeInfo) -> Function:
    """The result has the type of the base, whatever the exponent's."""
    base, exponent = node.input_types
    power = node.constants[1]
    if base in ("tensor(float)", "tensor(double)") and power is not None and power.dim() == 0:
        value = power.item()
        # In torch's float32 a whole exponent beyond 2^24 would not be exact.
        if base == "tensor(double)" or power.dtype.is_floating_point or abs(value) < 1 << 24:
            return lambda x, y: torch.pow(x, value)
    if base == exponent and base in ("tensor(float)", "tensor(double)"):
        return torch.pow
    return functools.partial(_power, wide=widest_float(node.arrays.device))


table.specialized("Div", 1, 6, attributes=(*ATTRIBUTES, "consumed_inputs"))(aligned(div))
table.specialized("Pow", 1, attributes=ATTRIBUTES)(aligned(pow_))


def _power(x: Tensor, y: Tensor, wide: torch.dtype) -> Tensor:
    if x.dtype.is_floating_point:
        if y.dtype in _HALF or y.dtype == torch.float32 or y.dtype.itemsize < 4:
            compute = torch.float64 if x.dtype == torch.float64 else torch.float32
        else:
            compute = wide
        return torch.pow(x.to(compute), y.to(compute)).to(x.dtype)
    if y.dtype.is_floating_point:
        return torch.pow(x.to(wide), y.to(wide)).to(x.dtype)
    if y.dtype == torch.uint64:
        # 2^63 and more would look negative. Without the highest bit the power is the same modulo
        # 2^64 for every base: 2^63 is a multiple of the order of each odd number.
        y = y.view(torch.int64)
        y = torch.where(y < 0, y ^ torch.iinfo(torch.int64).min | 1 << 62, y)
    return torch.pow(x.to(torch.int64), y.to(torch.int64)).to(x.dtype)


def _extremum(function: Function) -> Function:
    def run(*tensors: Tensor) -> Tensor:
        return functools.reduce(function, tensors)

    return run


def _unsigned_extremum(function: Function) -> Function:
    def run(*tensors: Tensor) -> Tensor:
        found = functools.reduce(function, map(ordered, tensors))
        return from_ordered(found, tensors[0].dtype)

    return run


def _variadic(two: Function, unsigned: Function) -> Function:
    many = _extremum(two)

    def specialized(node: NodeInfo) -> Function:
        chosen: Function = by_type(two if len(node.input_types) == 2 else many, unsigned)(node)
        return chosen

    return specialized


table.specialized("Max", 6, 8, 12, 13)(_variadic(torch.maximum, _unsigned_extremum(torch.maximum)))
table.specialized("Min", 6, 8, 12, 13)(_variadic(torch.minimum, _unsigned_extremum(torch.minimum)))
table.specialized("Sum", 6, 8, 13)(_variadic(torch.add, _extremum(torch.add)))


@table.kernel("Mean", 6, 8, 13)
def mean(*tensors: Tensor) -> Tensor:
    """Broadcasting; half precision is summed in float32."""
    dtype = tensors[0].dtype
    if dtype in _HALF:
        wide = [x.to(torch.float32) for x in tensors]
        return (functools.reduce(torch.add, wide) / len(wide)).to(dtype)
    return functools.reduce(torch.add, tensors) / len(tensors)


@table.kernel("Clip", 6)
def clip_by_attributes(
    x: Tensor, *, min: float = -3.4028234663852886e38, max: float = 3.4028234663852886e38
) -> Tensor:
    """Bounds out of the type's range are none."""
    most = torch.finfo(x.dtype).max
    low = min if abs(min) <= most else None
    high = max if abs(max) <= most else None
    return x if low is None and high is None else torch.clamp(x, low, high)


@table.specialized("Clip", 11, 12, 13)
def clip(node: NodeInfo) -> Function:
    """Where the bounds cross, everything is `max`."""
    bounds = [*node.input_types[1:], "", ""][:2]
    constants = [*node.constants[1:], None, None][:2]
    known = all(c is not None or not t for c, t in zip(constants, bounds, strict=True))
    if not node.input_types[0] or node.input_types[0] in ("tensor(uint16)", "tensor(uint32)"):
        known = False
    if known and node.input_types[0] != "tensor(uint64)":
        low, high = (None if c is None else c.item() for c in constants)
        if low is None and high is None:
            return lambda x, *bounds: x
        return lambda x, *bounds: torch.clamp(x, low, high)
    return _clip


def _clip(x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    found = ordered(x)
    if low is not None:
        found = torch.maximum(found, ordered(low))
    if high is not None:
        found = torch.minimum(found, ordered(high))
    return from_ordered(found, x.dtype)


@table.specialized("BitShift", 11, 28, attributes=("direction",))
def bit_shift(node: NodeInfo) -> Function:
    """An amount that is negative or the width and more shifts everything out."""
    direction = node.attributes["direction"]
    if direction not in ("LEFT", "RIGHT"):
        raise UnsupportedError(f"direction is {direction!r}, expected LEFT or RIGHT")
    if direction == "LEFT":
        return by_type(torch.bitwise_left_shift, modular(torch.bitwise_left_shift))(node)
    return by_type(torch.bitwise_right_shift, _shift_right)(node)


def _shift_right(x: Tensor, amount: Tensor) -> Tensor:
    if x.dtype not in SIGNED:
        return torch.bitwise_right_shift(x, amount)
    if x.dtype != torch.uint64:
        return (x.to(torch.int64) >> amount.to(torch.int64)).to(x.dtype)
    bits, given = x.view(torch.int64), amount.view(torch.int64)
    inside = (given > 0) & (given < 64)
    by = torch.where(inside, given, 1)
    found = (bits >> by) & (torch.iinfo(torch.int64).max >> (by - 1))
    found = torch.where(inside, found, torch.where(given == 0, bits, 0))
    return found.view(torch.uint64)


_BITWISE: tuple[tuple[str, Function], ...] = (
    ("BitwiseAnd", torch.bitwise_and),
    ("BitwiseOr", torch.bitwise_or),
    ("BitwiseXor", torch.bitwise_xor),
    ("BitwiseNot", torch.bitwise_not),
)
for _name, _function in _BITWISE:
    table.specialized(_name, 18)(by_type(_function, modular(_function)))


def _cumulative(function: Function, neutral: int) -> Function:
    def run(x: Tensor, axis: Any, *, exclusive: int = 0, reverse: int = 0) -> Tensor:
        dim = int(np.asarray(axis).reshape(()))
        values = signed_view(x)
        if reverse:
            values = values.flip(dim)
        if exclusive and values.shape[dim]:
            first = torch.full_like(values.narrow(dim, 0, 1), neutral)
            values = torch.cat([first, values.narrow(dim, 0, values.shape[dim] - 1)], dim)
        # A sum of float16 is kept in float32 on the way, and rounded once an element.
        dtype = torch.float32 if values.dtype in _HALF else values.dtype
        found: Tensor = function(values, dim, dtype=dtype)
        if reverse:
            found = found.flip(dim)
        return found.view(x.dtype) if x.dtype in SIGNED else found.to(x.dtype)

    return run


table.kernel("CumSum", 11, 14, host=(1,))(_cumulative(torch.cumsum, 0))
table.kernel("CumProd", 26, host=(1,))(_cumulative(torch.cumprod, 1))
