"""Formulas that lose digits, overflow, or put a term in the wrong place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from hal import ElementType, Tensor
from hal.contract import Operator
from hal_conformance.contract.numbers import Array, narrow, widen
from hal_conformance.mutants.call import Call, Outputs
from hal_conformance.mutants.fault import Fault, Run, State, makes, only, real
from hal_conformance.mutants.faults.precision import running_sum

Formula = Callable[[Any], Any]


@makes("naive formula")
def naive(operator: Operator) -> Iterator[Fault]:
    """Right on paper: overflows for large numbers, or cancels near zero."""
    formula = _NAIVE.get(operator.key)
    if formula is not None:
        yield Fault("in its own type", _elementwise(formula), real)
    if operator.key in ("Softmax", "LogSoftmax", "ReduceLogSumExp"):
        yield Fault("the maximum is not subtracted", _exponentials, real)


@makes("normalisation")
def normalisation(operator: Operator) -> Iterator[Fault]:
    """Epsilon in the wrong place, another variance, statistics in too little precision."""
    axes = _NORMALISED.get(operator.key)
    if axes is None:
        return
    if operator.attribute("epsilon"):
        yield Fault("epsilon outside the root", _normalised(axes, outside=True), real)
        yield Fault("no epsilon", _normalised(axes, epsilon=False), real)
    yield Fault("variance over n - 1", _normalised(axes, unbiased=True), real)
    for type_, low in (
        (ElementType.FLOAT, ElementType.FLOAT16),
        (ElementType.FLOAT16, ElementType.FLOAT16),
        (ElementType.BFLOAT16, ElementType.BFLOAT16),
    ):
        yield Fault(
            f"{type_.onnx_name}: statistics in {low.onnx_name}",
            _normalised(axes, low=low),
            only(type_),
        )


def _softplus(x: Any) -> Any:
    return np.log(1 + np.exp(x))


_NAIVE: dict[str, Formula] = {
    "Sigmoid": lambda x: np.exp(x) / (1 + np.exp(x)),
    "Tanh": lambda x: (np.exp(2 * x) - 1) / (np.exp(2 * x) + 1),
    "Softplus": _softplus,
    "Mish": lambda x: x * np.tanh(_softplus(x)),
    "Sinh": lambda x: (np.exp(x) - np.exp(-x)) / 2,
    "Asinh": lambda x: np.log(x + np.sqrt(x * x + 1)),
    "Atanh": lambda x: (np.log(1 + x) - np.log(1 - x)) / 2,
    "Swish": lambda x: x * (np.exp(x) / (1 + np.exp(x))),
    "Elu": lambda x: np.where(x > 0, x, np.exp(x) - 1),
    "Softsign": lambda x: 1 / (1 / np.abs(x) + 1) * np.sign(x),
}
"""What is wrong with each in a type of its own precision; those with an attribute only at its
default."""


def _elementwise(formula: Formula) -> Callable[[Call, Run, State], Outputs | None]:
    def kernel(call: Call, run: Run, state: State) -> Outputs | None:
        x = call.tensor(0)
        if x is None or call.attributes:
            return None
        with np.errstate(all="ignore"):
            values = np.asarray(formula(x.numpy()))
        return (narrow(values.astype(np.float64), x.element_type),)

    return kernel


def _exponentials(call: Call, run: Run, state: State) -> Outputs | None:
    x = call.tensor(0)
    if x is None or not x.size:
        return None
    values = x.numpy()
    dtype = values.dtype
    with np.errstate(all="ignore"):
        powers = np.exp(values)
        if call.operator.key == "ReduceLogSumExp":
            axes = call.tensor(1)
            if (axes is None or not axes.size) and call.attribute("noop_with_empty_axes"):
                return None
            over = (
                tuple(range(values.ndim))
                if axes is None or not axes.size
                else tuple(int(a) for a in axes.numpy())
            )
            total = powers.astype(np.float64).sum(over, keepdims=bool(call.attribute("keepdims")))
            result = np.log(np.asarray(total).astype(dtype))
        else:
            axis = call.attribute("axis")
            shares = powers / powers.astype(np.float64).sum(axis, keepdims=True).astype(dtype)
            result = shares if call.operator.key == "Softmax" else np.log(shares)
    return (narrow(np.asarray(result).astype(np.float64), x.element_type),)


Axes = Callable[[Call, Array], "tuple[Array, tuple[int, ...]] | None"]
"""The input in a form in which the axes given are those that statistics run over."""


def _last_axes(call: Call, x: Array) -> tuple[Array, tuple[int, ...]]:
    return x, tuple(range(int(call.attribute("axis")) % x.ndim, x.ndim))


def _grouped(call: Call, x: Array) -> tuple[Array, tuple[int, ...]]:
    groups = int(call.attribute("num_groups"))
    shaped = x.reshape(x.shape[0], groups, x.shape[1] // groups, *x.shape[2:])
    return shaped, tuple(range(2, shaped.ndim))


def _batch(call: Call, x: Array) -> tuple[Array, tuple[int, ...]] | None:
    return (x, (0, *range(2, x.ndim))) if call.attribute("training_mode") else None


_NORMALISED: dict[str, Axes] = {
    "LayerNormalization": _last_axes,
    "RMSNormalization": _last_axes,
    "InstanceNormalization": lambda call, x: (x, tuple(range(2, x.ndim))),
    "GroupNormalization": _grouped,
    "MeanVarianceNormalization": lambda call, x: (
        x,
        tuple(int(a) % x.ndim for a in call.attribute("axes")),
    ),
    "BatchNormalization": _batch,
}


def _normalised(
    axes: Axes,
    *,
    outside: bool = False,
    epsilon: bool = True,
    unbiased: bool = False,
    low: ElementType | None = None,
) -> Callable[[Call, Run, State], Outputs | None]:
    def kernel(call: Call, run: Run, state: State) -> Outputs | None:
        x = call.tensor(0)
        if x is None or not x.size:
            return None
        found = axes(call, widen(x))
        results = run(call)
        if found is None or not isinstance(results[0], Tensor):
            return None
        values, over = found
        count = int(np.prod([values.shape[a] for a in over]))
        if count < 2:
            return None
        eps = float(call.attribute("epsilon") or 0.0) if epsilon else 0.0
        root_mean_square = call.operator.key == "RMSNormalization"

        def mean(v: Array) -> Array:
            if low is None:
                return np.asarray(v.mean(over, keepdims=True))
            return running_sum(v, over, low) / count

        with np.errstate(all="ignore"):
            centre = np.zeros(()) if root_mean_square else mean(values)
            variance = mean(np.square(values - centre))
            if unbiased:
                variance = variance * count / (count - 1)
            spread = np.sqrt(variance) + eps if outside else np.sqrt(variance + eps)
            wrong = ((values - centre) / spread).reshape(x.shape)
            right = _plain(call, values, over).reshape(x.shape)
            # What scale and bias make of it is the same linear map for both.
            scaled = _rescaled(call, right, wrong, widen(results[0]))
        return (narrow(scaled, results[0].element_type), *results[1:])

    return kernel


def _plain(call: Call, values: Array, over: tuple[int, ...]) -> Array:
    eps = float(call.attribute("epsilon") or 0.0)
    if call.operator.key == "RMSNormalization":
        centre: Array = np.zeros(())
    else:
        centre = np.asarray(values.mean(over, keepdims=True))
    variance = np.square(values - centre).mean(over, keepdims=True)
    return np.asarray((values - centre) / np.sqrt(variance + eps))


def _rescaled(call: Call, right: Array, wrong: Array, result: Array) -> Array:
    scale = call.tensor(1)
    if scale is None:
        return np.asarray(result + (wrong - right))
    factor = widen(scale)
    if call.operator.key in (
        "BatchNormalization",
        "InstanceNormalization",
        "GroupNormalization",
    ):
        factor = factor.reshape(-1, *[1] * (right.ndim - 2))
    return np.asarray(result + (wrong - right) * factor)
