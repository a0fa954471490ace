"""Indices that are clamped, narrowed or off by one; ties; borders."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from hal import Tensor
from hal.contract import Operator
from hal.errors import ExecutionError
from hal_conformance.contract.numbers import Array, narrow, widen
from hal_conformance.mutants.arrays import as_operator, with_bits
from hal_conformance.mutants.call import Call, Outputs
from hal_conformance.mutants.fault import Change, Fault, Run, State, any_type, makes, real, rewrite

_INDICES = {
    "Gather": 1,
    "GatherElements": 1,
    "GatherND": 1,
    "ScatterElements": 1,
    "ScatterND": 1,
    "OneHot": 0,
    "SequenceAt": 1,
    "SequenceErase": 1,
    "SequenceInsert": 2,
    "ai.onnx.ml::ArrayFeatureExtractor": 1,
    "TensorScatter": 2,
    "NegativeLogLikelihoodLoss": 1,
    "SoftmaxCrossEntropyLoss": 1,
    "RoiAlign": 2,
    "RotaryEmbedding": 3,
}
_NO_NEGATIVE = frozenset(
    {
        "ai.onnx.ml::ArrayFeatureExtractor",
        "TensorScatter",
        "NegativeLogLikelihoodLoss",
        "SoftmaxCrossEntropyLoss",
        "RoiAlign",
        "RotaryEmbedding",
    }
)


@makes("index clamping")
def clamping(operator: Operator) -> Iterator[Fault]:
    """Negative indices taken for zero, far ones narrowed or refused, all of them off by one."""
    position = _INDICES.get(operator.key)
    if position is not None:
        if operator.key not in _NO_NEGATIVE:
            yield rewrite(
                "a negative index is zero", _numbers(position, lambda v: np.maximum(v, 0))
            )
            yield rewrite(
                "a negative index is off by one",
                _numbers(position, lambda v: np.where(v < -1, v + 1, v)),
            )
        yield rewrite(
            "the next index",
            _numbers(position, lambda v: np.where(v == v.max(initial=0), v - 1, v)),
        )
    if operator.key == "Slice":
        for name, place in (("starts", 1), ("ends", 2)):
            yield rewrite(f"{name}: cut to 32 bits", _numbers(place, _low_bits))
            yield rewrite(
                f"{name}: a negative one is zero", _numbers(place, lambda v: np.maximum(v, 0))
            )
            yield Fault(f"{name}: beyond the end is refused", _beyond_refused(place), any_type)
        yield rewrite("steps: without their sign", _numbers(4, np.abs))
    if operator.key == "Trilu":
        yield rewrite("k: the sign reversed", _numbers(1, lambda v: -v))
        yield rewrite("k: off by one", _trilu)
    if operator.key == "ReverseSequence":
        yield rewrite("sequence_lens: the longest for all", _longest)
    if operator.key in ("Loop", "RNN", "GRU", "LSTM"):
        place = {"Loop": 0}.get(operator.key, 4)
        yield rewrite("one step too few", _numbers(place, lambda v: np.maximum(v - 1, 0)))
    if operator.key == "Shape":
        for name in ("start", "end"):
            yield rewrite(f"{name}: a negative one is zero", _attribute_at_least_zero(name))
    if operator.key == "EyeLike":
        yield rewrite("k: the sign reversed", lambda call: call.setting("k", -call.attribute("k")))
    if operator.key == "Split":
        yield rewrite("uneven parts: the first one short", _split)


@makes("ties")
def ties(operator: Operator) -> Iterator[Fault]:
    """Of equal values another one than the standard says; borders that count as inside."""
    if operator.key in ("ArgMax", "ArgMin"):
        yield rewrite(
            "the other end",
            lambda call: call.setting("select_last_index", 1 - call.attribute("select_last_index")),
        )
    if operator.key in ("TopK", "Hardmax"):
        yield Fault("the last of equal values first", _flipped, any_type)
    for name, other in _BORDERS.items():
        if operator.key == name:
            yield rewrite(f"as {other}", _as(other))
    if operator.key in _AT_BORDER:
        yield Fault("the border counts as inside", _border(_AT_BORDER[operator.key]), any_type)
    if operator.key == "Sign":
        yield Fault("zero is positive", _sign_of_zero, any_type)
    if operator.key in ("Max", "Min", "ReduceMax", "ReduceMin"):
        yield Fault("NaN loses", _nan_loses, real)


_BORDERS = {
    "Greater": "GreaterOrEqual",
    "GreaterOrEqual": "Greater",
    "Less": "LessOrEqual",
    "LessOrEqual": "Less",
}
_AT_BORDER: dict[str, Callable[[Call, Array], Array]] = {
    "ThresholdedRelu": lambda call, x: np.where(x == call.attribute("alpha"), x, np.nan),
    "Shrink": lambda call, x: np.where(
        np.abs(x) == call.attribute("lambd"), x - np.sign(x) * call.attribute("bias"), np.nan
    ),
    "ai.onnx.ml::Binarizer": lambda call, x: np.where(x == call.attribute("threshold"), 1, np.nan),
}


def _numbers(position: int, change: Callable[[Any], Any]) -> Callable[[Call], Call | None]:
    def changed(call: Call) -> Call | None:
        tensor = call.tensor(position)
        if tensor is None or not tensor.size or tensor.numpy().dtype.kind not in "iu":
            return None
        return call.feeding(
            position,
            with_bits(tensor, lambda bits: np.asarray(change(bits)).astype(bits.dtype)),
        )

    return changed


def _as(other: str) -> Change:
    return lambda call: as_operator(call, other)


def _low_bits(values: Array) -> Array:
    return values.astype(np.int32).astype(values.dtype)


def _beyond_refused(position: int) -> Callable[[Call, Run, State], Outputs | None]:
    def kernel(call: Call, run: Run, state: State) -> Outputs | None:
        data, numbers = call.tensor(0), call.tensor(position)
        if data is not None and numbers is not None and numbers.size:
            most = max(data.shape, default=0)
            if (np.abs(numbers.numpy().astype(float)) > most).any():
                raise ExecutionError("Slice: out of range")
        return None

    return kernel


def _trilu(call: Call) -> Call | None:
    k = call.tensor(1)
    if k is None:
        return None
    return call.feeding(1, with_bits(k, lambda bits: bits + 1))


def _longest(call: Call) -> Call | None:
    lengths = call.tensor(1)
    if lengths is None or not lengths.size:
        return None
    return call.feeding(1, with_bits(lengths, lambda bits: np.full_like(bits, bits.max())))


def _attribute_at_least_zero(name: str) -> Callable[[Call], Call | None]:
    def changed(call: Call) -> Call | None:
        value = call.attribute(name)
        return call.setting(name, 0) if value is not None and value < 0 else None

    return changed


def _split(call: Call) -> Call | None:
    data = call.tensor(0)
    parts = call.attribute("num_outputs")
    if data is None or not parts:
        return None
    extent = data.shape[call.attribute("axis")]
    size = -(-extent // parts)
    short = extent - size * (parts - 1)
    if short == size or short < 0:
        return None
    lengths = Tensor.from_numpy(np.array([short, *[size] * (parts - 1)], np.int64))
    return dataclasses.replace(call.setting("num_outputs", None), inputs=(data, lengths))


def _flipped(call: Call, run: Run, state: State) -> Outputs | None:
    data = call.tensor(0)
    if data is None or not data.shape:
        return None
    axis = call.attribute("axis")
    turned = call.feeding(0, with_bits(data, lambda bits: np.flip(bits, axis)))
    results = run(turned)
    if call.operator.key == "Hardmax":
        first = results[0]
        return (
            (with_bits(first, lambda b: np.flip(b, axis)),) if isinstance(first, Tensor) else None
        )
    indices = results[1]
    if not isinstance(indices, Tensor):
        return None
    last = data.shape[axis] - 1
    return (results[0], with_bits(indices, lambda bits: last - bits))


def _border(
    other: Callable[[Call, Array], Array],
) -> Callable[[Call, Run, State], Outputs | None]:
    def kernel(call: Call, run: Run, state: State) -> Outputs | None:
        data, results = call.tensor(0), run(call)
        first = results[0]
        if data is None or not isinstance(first, Tensor):
            return None
        wrong = other(call, widen(data).astype(np.float64))
        right = widen(first)
        mixed = np.where(np.isnan(wrong), right, wrong)
        return (narrow(mixed, first.element_type),)

    return kernel


def _sign_of_zero(call: Call, run: Run, state: State) -> Outputs | None:
    data, results = call.tensor(0), run(call)
    first = results[0]
    if data is None or not isinstance(first, Tensor):
        return None
    return (narrow(np.where(widen(data) == 0, 1, widen(first)), first.element_type),)


def _nan_loses(call: Call, run: Run, state: State) -> Outputs | None:
    # Every NaN becomes what loses against any number, as in a loop of `if (x > best)`.
    loser = -np.inf if call.operator.key.endswith("Max") else np.inf
    for i, tensor in list(call.tensors()):
        if not real(tensor.type):
            continue
        values = widen(tensor)
        if np.isnan(values).any():
            call = call.feeding(
                i, narrow(np.where(np.isnan(values), loser, values), tensor.element_type)
            )
    return run(call)
