"""Constant folding: steps whose inputs are constants are computed when the model is compiled."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hal.errors import ModelError
from hal.graph import SparseTensor
from hal.kernels._arrays import Arrays
from hal.kernels._program import Constants, Step, Value, element_type_of
from hal.tensor import Tensor
from hal.types import ElementType

__all__ = ["dense", "fold"]

LARGEST_DENSE = 1 << 30
"""Bytes of a sparse constant made dense."""
_UNBOUNDED = {"Pad", "Resize", "Upsample", "CenterCropPad", "Col2Im", "Einsum", "OneHot"} | {
    "MelWeightMatrix",
    "HannWindow",
    "HammingWindow",
    "BlackmanWindow",
    "ImageDecoder",
    "Gather",
    "GatherND",
    "ConvTranspose",
    "Conv",
    "AffineGrid",
    "MaxUnpool",
}
"""Operators whose result may be far larger than their inputs, by a rule not known here. They are
folded only where all their inputs are small, and so is what their integers can ask for."""
_SMALL = 4096


def fold(
    step: Step, constants: Constants, arrays: Arrays, limit: int
) -> Sequence[Value | None] | None:
    """The step's outputs as constants; None if it is to be computed at run time.

    A result above `limit` bytes is kept only if the inputs were that large already. What raises is
    left to the run, where the error names its node.
    """
    if not step.deterministic or step.function is None:
        return None
    if not all(value is None or value.constant for value in step.args):
        return None
    args = [
        None
        if value is None
        else constants.host(value)
        if step.wants_host(index)
        else constants.device(value)
        for index, value in enumerate(step.args)
    ]
    given = sum(_nbytes(arrays, a) for a in args)
    bound = max(limit, given)
    if _estimate(step, args, arrays) > bound:
        return None
    try:
        with np.errstate(all="ignore"):
            result = step.function(*args, **step.keywords)
        found = list(result) if _is_tuple(step, result) else [result]
        if sum(_nbytes(arrays, r) for r in found) > bound or len(found) < len(step.outputs):
            return None
    except Exception:  # noqa: BLE001 (whatever a kernel raises is reported when it runs)
        return None
    folded: list[Value | None] = []
    for value, item in zip(step.outputs, found, strict=False):
        if value is None:
            folded.append(None)
            continue
        if not _fits(value.type, item, arrays, step):
            return None
        shape = _shape(item, arrays)
        if step.host_result:
            folded.append(Value(value.type, shape, host_literal=item))
        else:
            folded.append(Value(value.type, shape, literal=item))
    return folded


def _is_tuple(step: Step, result: Any) -> bool:
    return len(step.outputs) > 1 or step.always_tuple or isinstance(result, tuple)


def _fits(type_: str, item: Any, arrays: Arrays, step: Step) -> bool:
    """Whether a result's dtype is the inferred one; if not, the run reports it."""
    expected = element_type_of(type_)
    if expected is None or isinstance(item, (list, Mapping)) or item is None:
        return True
    if step.host_result:
        return hasattr(item, "dtype") and ElementType.from_dtype(item.dtype) is expected
    return arrays.holds(item, expected)


def _shape(item: Any, arrays: Arrays) -> tuple[int, ...] | None:
    if item is None or isinstance(item, (list, Mapping)):
        return None
    return tuple(np.shape(item)) if isinstance(item, np.ndarray) else arrays.shape(item)


def _nbytes(arrays: Arrays, item: Any) -> int:
    if item is None or isinstance(item, (str, bytes, int, float)):
        return 8
    if isinstance(item, (list, tuple)):
        return sum(_nbytes(arrays, i) for i in item)
    if isinstance(item, Mapping):
        return 64 * len(item)
    return int(item.nbytes) if isinstance(item, np.ndarray) else arrays.nbytes(item)


def _estimate(step: Step, args: Sequence[Any], arrays: Arrays) -> float:
    """About how many bytes the result has, from shapes and small integers; inf when unknown."""
    operator = step.op_type
    if operator in ("ConstantOfShape", "Expand", "Tile", "Range") or operator in _UNBOUNDED:
        return _asked_for(operator, args, arrays)
    shapes = [arrays.shape(a) for a in args if hasattr(a, "shape")]
    try:
        count = math.prod(np.broadcast_shapes(*shapes)) if shapes else 0
    except ValueError:
        count = max(math.prod(s) for s in shapes)
    if operator in ("MatMul", "Gemm", "MatMulInteger", "QLinearMatMul"):
        count = math.prod(math.prod(s) for s in shapes[:2])
        count = math.isqrt(count) ** 2  # m*k * k*n bounds m*n, which is what is made
        return 0 if count <= _SMALL**2 else _matmul(shapes)
    return count * 8


def _matmul(shapes: Sequence[tuple[int, ...]]) -> float:
    left, right = shapes[0], shapes[1]
    if len(left) < 2 or len(right) < 2:
        return 0
    batch = max(math.prod(left[:-2]), 1) * max(math.prod(right[:-2]), 1)
    return batch * max(left[-2:]) * max(right[-2:]) * 8


def _asked_for(operator: str, args: Sequence[Any], arrays: Arrays) -> float:
    def numbers(index: int) -> list[int]:
        item = np.asarray(args[index]).reshape(-1)
        return [abs(int(i)) for i in item.tolist()]

    try:
        if operator == "ConstantOfShape":
            return math.prod(numbers(0)) * 8
        if operator == "Expand":
            own = math.prod(arrays.shape(args[0]))
            return own * max(math.prod(max(n, 1) for n in numbers(1)), 1) * 8
        if operator == "Tile":
            repeats = math.prod(max(n, 1) for n in numbers(1))
            return math.prod(arrays.shape(args[0])) * repeats * 8
        if operator == "Range":
            start, stop, delta = (float(np.asarray(a).reshape(-1)[0]) for a in args)
            return abs((stop - start) / delta) * 8
    except (TypeError, ValueError, OverflowError, ZeroDivisionError, IndexError, RuntimeError):
        return math.inf
    sizes = [_nbytes(arrays, a) for a in args]
    if operator in ("Gather", "GatherND") and len(args) > 1:
        return math.prod(max(s, 1) for s in sizes[:2]) if max(sizes) > _SMALL else 0
    return math.inf


def dense(sparse: SparseTensor) -> Tensor:
    """A sparse constant as a dense tensor. Raises ModelError when that is absurdly large."""
    count = math.prod(sparse.shape)
    element_type = sparse.values.element_type
    if element_type.nbytes(count) > LARGEST_DENSE:
        raise ModelError(f"a sparse constant of shape {list(sparse.shape)} is too large to expand")
    values, indices = sparse.values.bits(), sparse.indices.bits()
    if element_type is ElementType.STRING:
        full = np.full(count, "", dtype=object)
    else:
        full = np.zeros(count, dtype=values.dtype)
    if indices.ndim == 2:
        indices = np.ravel_multi_index(tuple(indices.T), sparse.shape) if indices.size else indices
    full[indices.reshape(-1)] = values
    return Tensor.from_numpy(full.reshape(sparse.shape), element_type)
