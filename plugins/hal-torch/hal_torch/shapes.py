"""Shape arithmetic in NumPy: what a graph computes only to know a shape stays on the host.

Without it, a Reshape to a computed shape would wait for the device, twice. These kernels run where
HAL's base finds that everything a node reads is on the host already, and everybody who reads its
output wants it there. They take integers, booleans and float (scales), no other types.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hal.kernels import KernelTable
from hal.types import ElementType

__all__ = ["SHAPES"]

Host = np.ndarray[Any, np.dtype[Any]]

SHAPES = KernelTable()
"""NumPy kernels, by exact version, for the operators that exporters build shapes with."""

INTEGERS = {"int32", "int64"}
NUMBERS = {"int32", "int64", "float"}
ANY = {"int32", "int64", "float", "bool"}


def _integers(axes: Any) -> list[int]:
    return [int(a) for a in np.asarray(axes).reshape(-1)]


SHAPES.kernel("Add", 7, 13, 14, types=NUMBERS)(np.add)
SHAPES.kernel("Sub", 7, 13, 14, types=NUMBERS)(np.subtract)
SHAPES.kernel("Mul", 7, 13, 14, types=NUMBERS)(np.multiply)
SHAPES.kernel("Neg", 6, 13, types=NUMBERS)(np.negative)
SHAPES.kernel("Abs", 6, 13, types=NUMBERS)(np.absolute)
SHAPES.kernel("Floor", 6, 13, types={"float"})(np.floor)
SHAPES.kernel("Ceil", 6, 13, types={"float"})(np.ceil)
SHAPES.kernel("Not", 1, types={"bool"})(np.logical_not)
SHAPES.kernel("And", 7, types={"bool"})(np.logical_and)
SHAPES.kernel("Or", 7, types={"bool"})(np.logical_or)
SHAPES.kernel("Equal", 7, 11, 13, 19, types=ANY)(np.equal)
SHAPES.kernel("Less", 7, 9, 13, types=NUMBERS)(np.less)
SHAPES.kernel("Greater", 7, 9, 13, types=NUMBERS)(np.greater)
SHAPES.kernel("LessOrEqual", 12, 16, types=NUMBERS)(np.less_equal)
SHAPES.kernel("GreaterOrEqual", 12, 16, types=NUMBERS)(np.greater_equal)


@SHAPES.kernel("Where", 9, 16, types=ANY)
def where(condition: Host, x: Host, y: Host) -> Host:
    return np.where(condition, x, y)


@SHAPES.kernel("Div", 7, 13, 14, types=NUMBERS)
def div(x: Host, y: Host) -> Host:
    if x.dtype.kind == "f":
        with np.errstate(all="ignore"):
            return np.asarray(x / y)
    if not np.all(y):
        raise ZeroDivisionError("integer division by zero")
    quotient = np.floor_divide(x, y)  # rounds down, ONNX truncates
    return np.asarray(quotient + ((x - quotient * y != 0) & ((x < 0) != (y < 0))))


@SHAPES.kernel("Mod", 10, 13, types=INTEGERS)
def mod(x: Host, y: Host, *, fmod: int = 0) -> Host:
    if not np.all(y):
        raise ZeroDivisionError("integer modulo by zero")
    return np.asarray(np.fmod(x, y) if fmod else np.mod(x, y))


@SHAPES.kernel("Min", 6, 8, 12, 13, types=NUMBERS)
def minimum(*xs: Host) -> Host:
    found = xs[0]
    for x in xs[1:]:
        found = np.minimum(found, x)
    return found


@SHAPES.kernel("Max", 6, 8, 12, 13, types=NUMBERS)
def maximum(*xs: Host) -> Host:
    found = xs[0]
    for x in xs[1:]:
        found = np.maximum(found, x)
    return found


@SHAPES.kernel("Cast", 6, 9, 13, 19, 21, 23, 24, 25, types={"T1": ANY, "T2": ANY})
def cast(x: Host, *, to: int, saturate: int = 1) -> Host:
    with np.errstate(all="ignore"):
        return x.astype(ElementType(to).dtype())


@SHAPES.kernel("Gather", 1, 11, 13, types=ANY)
def gather(x: Host, indices: Host, *, axis: int = 0) -> Host:
    return np.asarray(np.take(x, indices, axis=axis))


@SHAPES.kernel("Concat", 4, 11, 13, types=ANY)
def concat(*xs: Host, axis: int) -> Host:
    return np.concatenate(xs, axis)


@SHAPES.kernel("Unsqueeze", 1, 11, types=ANY)
def unsqueeze_1(x: Host, *, axes: tuple[int, ...]) -> Host:
    return np.expand_dims(x, axes)


@SHAPES.kernel("Unsqueeze", 13, 21, 23, 24, 25, types=ANY)
def unsqueeze(x: Host, axes: Host) -> Host:
    return np.expand_dims(x, tuple(_integers(axes)))


@SHAPES.kernel("Squeeze", 1, 11, types=ANY)
def squeeze_1(x: Host, *, axes: tuple[int, ...] | None = None) -> Host:
    return np.asarray(np.squeeze(x, axes))


@SHAPES.kernel("Squeeze", 13, 21, 23, 24, 25, types=ANY)
def squeeze(x: Host, axes: Host | None = None) -> Host:
    return np.asarray(np.squeeze(x, None if axes is None else tuple(_integers(axes))))


@SHAPES.kernel("Reshape", 5, 13, 14, 19, 21, 23, 24, 25, types=ANY)
def reshape(x: Host, shape: Host, *, allowzero: int = 0) -> Host:
    sizes = _integers(shape)
    return x.reshape([d or (0 if allowzero else x.shape[i]) for i, d in enumerate(sizes)])


@SHAPES.kernel("Slice", 1, types=ANY)
def slice_1(
    x: Host, *, starts: tuple[int, ...], ends: tuple[int, ...], axes: tuple[int, ...] | None = None
) -> Host:
    return _sliced(x, starts, ends, axes or range(len(starts)), [1] * len(starts))


@SHAPES.kernel("Slice", 10, 11, 13, types=ANY)
def slice_10(
    x: Host, starts: Host, ends: Host, axes: Host | None = None, steps: Host | None = None
) -> Host:
    first = _integers(starts)
    own_axes = range(len(first)) if axes is None else _integers(axes)
    own_steps = [1] * len(first) if steps is None else _integers(steps)
    return _sliced(x, first, _integers(ends), own_axes, own_steps)


def _sliced(x: Host, starts: Any, ends: Any, axes: Any, steps: Any) -> Host:
    at: list[slice] = [slice(None)] * x.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        size = x.shape[axis]
        if step < 0 and end < -size:
            end = None  # beyond the first element, which -1 would not say
        at[axis] = slice(start, end, step)
    return x[tuple(at)]


@SHAPES.kernel("Range", 11, 27, types=NUMBERS)
def arange(start: Host, limit: Host, delta: Host) -> Host:
    return np.arange(start.item(), limit.item(), delta.item(), dtype=start.dtype)


@SHAPES.kernel("Transpose", 1, 13, 21, 23, 24, 25, types=ANY)
def transpose(x: Host, *, perm: tuple[int, ...] | None = None) -> Host:
    return np.transpose(x, perm)


@SHAPES.kernel("Expand", 8, 13, types=ANY)
def expand(x: Host, shape: Host) -> Host:
    return np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(_integers(shape))))


@SHAPES.kernel("Tile", 6, 13, types=ANY)
def tile(x: Host, repeats: Host) -> Host:
    return np.tile(x, _integers(repeats))


def _reduction(function: Any) -> tuple[Any, Any]:
    def by_attribute(x: Host, *, axes: Any = None, keepdims: int = 1) -> Host:
        axis = None if axes is None else tuple(axes)
        return np.asarray(function(x, axis=axis, keepdims=bool(keepdims)), dtype=x.dtype)

    def by_input(
        x: Host, axes: Host | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0
    ) -> Host:
        axis = None if axes is None or not axes.size else tuple(_integers(axes))
        if axis is None and noop_with_empty_axes:
            return x
        return np.asarray(function(x, axis=axis, keepdims=bool(keepdims)), dtype=x.dtype)

    return by_attribute, by_input


for _name, _function, _old, _new in (
    ("ReduceProd", np.prod, (1, 11, 13), (18,)),
    ("ReduceSum", np.sum, (1, 11), (13,)),
    ("ReduceMax", np.max, (1, 11, 12, 13), (18, 20)),
    ("ReduceMin", np.min, (1, 11, 12, 13), (18, 20)),
):
    _by_attribute, _by_input = _reduction(_function)
    SHAPES.kernel(_name, *_old, types=INTEGERS)(_by_attribute)
    SHAPES.kernel(_name, *_new, types=INTEGERS)(_by_input)
