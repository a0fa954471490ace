"""Operands that are aligned or repeated wrongly, or taken for each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from hal import Tensor
from hal.contract import Operator
from hal.errors import ExecutionError
from hal_conformance.contract.numbers import Array
from hal_conformance.mutants.call import Call, Outputs
from hal_conformance.mutants.fault import Change, Fault, Run, State, any_type, makes, rewrite

_BROADCAST = frozenset(
    [
        "Add",
        "Sub",
        "Mul",
        "Div",
        "Mod",
        "Pow",
        "Max",
        "Min",
        "Sum",
        "Mean",
        "And",
        "Or",
        "Xor",
        "Equal",
        "Greater",
        "GreaterOrEqual",
        "Less",
        "LessOrEqual",
        "BitShift",
        "BitwiseAnd",
        "BitwiseOr",
        "BitwiseXor",
        "Where",
        "PRelu",
        "StringConcat",
        "SwiGLU",
    ]
)
_SWAPPED = frozenset(
    [
        "Sub",
        "Div",
        "Mod",
        "Pow",
        "Greater",
        "GreaterOrEqual",
        "Less",
        "LessOrEqual",
        "BitShift",
        "StringConcat",
        "SwiGLU",
        "MatMul",
        "MatMulInteger",
        "Concat",
        "SequenceConstruct",
        "Einsum",
        "ai.onnx.ml::FeatureVectorizer",
    ]
)


@makes("broadcasting reversed")
def broadcasting(operator: Operator) -> Iterator[Fault]:
    """Operands broadcast from the wrong end, by a wrong index, or one way only."""
    if operator.key in _BROADCAST:
        yield rewrite("aligned at the first dimension", _aligned_left)
        yield rewrite("repeated in memory order", _repeated(np.resize))
        yield rewrite("its first element for all", _repeated(_first_element))
        yield Fault("the second operand only", _one_way, any_type)
    if operator.key == "Expand":
        yield rewrite("repeated in memory order", _expanded)
        yield rewrite("to the shape alone", _to_shape_alone)
    if operator.key in ("MatMul", "MatMulInteger"):
        yield rewrite("batches repeated in memory order", _batches)


@makes("operands exchanged")
def exchanged(operator: Operator) -> Iterator[Fault]:
    """The first two operands taken for each other."""
    if operator.key in _SWAPPED:
        yield rewrite("the first two", _swapped)
    if operator.key == "Where":
        yield rewrite("X and Y", lambda call: _exchange(call, 1, 2))
    if operator.key == "Clip":
        yield rewrite("min wins over max", _min_wins)


def _shapes(call: Call) -> list[tuple[int, ...]] | None:
    shapes = [t.shape for _, t in call.tensors()]
    return shapes if len(shapes) == len([v for v in call.inputs if v is not None]) > 1 else None


def _aligned_left(call: Call) -> Call | None:
    shapes = _shapes(call)
    if shapes is None:
        return None
    rank = max(map(len, shapes))
    padded = [(*s, *[1] * (rank - len(s))) if s else s for s in shapes]
    if padded == shapes:
        return None
    try:
        np.broadcast_shapes(*padded)
    except ValueError:
        return _repeated(np.resize)(call)
    for (i, tensor), shape in zip(list(call.tensors()), padded, strict=True):
        call = call.feeding(i, Tensor(tensor.element_type, shape, tensor.data))
    return call


def _repeated(repeat: Callable[..., Array]) -> Change:
    def changed(call: Call) -> Call | None:
        shapes = _shapes(call)
        if shapes is None:
            return None
        target = np.broadcast_shapes(*shapes)
        size = int(np.prod(target))
        found = None
        for i, tensor in list(call.tensors()):
            if 1 < tensor.size < size:
                bits = repeat(tensor.bits().ravel(), target)
                found = (found or call).feeding(i, Tensor.from_numpy(bits, tensor.element_type))
        return found

    return changed


def _first_element(values: Array, shape: tuple[int, ...]) -> Array:
    return np.full(shape, values[0], values.dtype)


def _one_way(call: Call, run: Run, state: State) -> Outputs | None:
    shapes = _shapes(call)
    if shapes is None or np.broadcast_shapes(*shapes) == shapes[0]:
        return None
    raise ExecutionError(f"{call.operator.name}: the first operand cannot be broadcast")


def _expanded(call: Call) -> Call | None:
    data, shape = call.tensor(0), call.tensor(1)
    if data is None or shape is None or data.size < 2:
        return None
    target = np.broadcast_shapes(data.shape, tuple(shape.numpy().tolist()))
    bits = np.resize(data.bits().ravel(), target)
    return call.feeding(0, Tensor.from_numpy(bits, data.element_type))


def _to_shape_alone(call: Call) -> Call | None:
    data, shape = call.tensor(0), call.tensor(1)
    if data is None or shape is None:
        return None
    asked = tuple(shape.numpy().tolist())
    if np.broadcast_shapes(data.shape, asked) == asked:
        return None
    raise ExecutionError(f"Expand: {data.shape} is no {asked}")


def _batches(call: Call) -> Call | None:
    a, b = call.tensor(0), call.tensor(1)
    if a is None or b is None or min(len(a.shape), len(b.shape)) < 2:
        return None
    target = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    found = None
    for i, tensor in ((0, a), (1, b)):
        batch = tensor.shape[:-2]
        if batch != target and 0 not in (*target, *tensor.shape):
            flat = tensor.bits().reshape(-1, *tensor.shape[-2:])
            count = int(np.prod(target))
            bits = flat[np.arange(count) % len(flat)].reshape(*target, *tensor.shape[-2:])
            found = (found or call).feeding(i, Tensor.from_numpy(bits, tensor.element_type))
    return found


def _exchange(call: Call, first: int, second: int) -> Call | None:
    if len(call.inputs) <= second:
        return None
    a, b = call.inputs[first], call.inputs[second]
    return call.feeding(first, b).feeding(second, a)


def _swapped(call: Call) -> Call | None:
    return _exchange(call, 0, 1)


def _min_wins(call: Call) -> Call | None:
    low, high = call.tensor(1), call.tensor(2)
    if low is None or high is None or not low.numpy() > high.numpy():
        return None
    return call.feeding(2, low)
