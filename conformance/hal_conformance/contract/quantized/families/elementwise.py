"""Activations and arithmetic between grids."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from hal import ElementType, Tensor
from hal_conformance.contract.numbers import Array, narrow
from hal_conformance.contract.quantized.form import Constant, Feed, Form, Input, Kit, quantised

_erf = np.vectorize(math.erf, otypes=[np.float64])


@dataclasses.dataclass(frozen=True)
class _Unary:
    """A function of one number on [low, high]; `bounds` are further inputs, by position."""

    function: Callable[[Array], Array]
    low: float = -4.0
    high: float = 3.5
    steps: int = 2
    attributes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    bounds: tuple[float | None, ...] = ()
    least: float = -np.inf


_UNARY: Mapping[str, Mapping[str, _Unary]] = {
    "Relu": {"": _Unary(lambda x: np.maximum(x, 0.0), steps=1)},
    "LeakyRelu": {
        "": _Unary(lambda x: np.where(x < 0, 0.01 * x, x), steps=1),
        "steep": _Unary(lambda x: np.where(x < 0, 0.3 * x, x), steps=1, attributes={"alpha": 0.3}),
    },
    "Clip": {
        "six": _Unary(lambda x: np.clip(x, 0.0, 6.0), -3.0, 9.0, 1, bounds=(0.0, 6.0)),
        "below": _Unary(lambda x: np.maximum(x, -1.0), steps=1, bounds=(-1.0,)),
        "above": _Unary(lambda x: np.minimum(x, 1.0), steps=1, bounds=(None, 1.0)),
    },
    "Sigmoid": {
        "": _Unary(lambda x: 1 / (1 + np.exp(-x))),
        "flat": _Unary(lambda x: 1 / (1 + np.exp(-x)), -20.0, 16.0),
    },
    "Tanh": {"": _Unary(np.tanh), "flat": _Unary(np.tanh, -9.0, 8.0)},
    "HardSigmoid": {
        "": _Unary(lambda x: np.clip(0.2 * x + 0.5, 0.0, 1.0)),
        "sixth": _Unary(
            lambda x: np.clip(x / 6 + 0.5, 0.0, 1.0), attributes={"alpha": 1 / 6, "beta": 0.5}
        ),
    },
    "HardSwish": {"": _Unary(lambda x: x * np.clip(x / 6 + 0.5, 0.0, 1.0))},
    "Gelu": {
        "": _Unary(lambda x: 0.5 * x * (1 + _erf(x / math.sqrt(2)))),
        "tanh": _Unary(
            lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
            attributes={"approximate": "tanh"},
        ),
    },
    "Elu": {"": _Unary(lambda x: np.where(x < 0, np.expm1(np.minimum(x, 0)), x))},
    "Abs": {"": _Unary(np.abs, steps=1)},
    "Neg": {"": _Unary(np.negative, steps=1)},
    "Exp": {"": _Unary(np.exp, -3.0, 1.0)},
    "Sqrt": {"": _Unary(np.sqrt, 0.0, 9.0, least=0.0)},
    "Erf": {"": _Unary(_erf)},
}


@quantised(*_UNARY)
def unary(kit: Kit) -> Iterator[Form]:
    """Over the whole range of the activation, both ends saturated; the output on its own grid."""
    for what, row in _UNARY[kit.operator].items():
        draw = kit.draw(what)
        x = kit.activation(draw, (1, 3, 8, 8), row.low, row.high, least=row.least)
        real = x.real
        if np.isfinite(row.least):
            real = np.maximum(real, row.least)
        inputs: list[Input] = [x]
        inputs += [None if b is None else Constant(_scalar(b)) for b in row.bounds]
        yield kit.form(
            what, inputs, [row.function(real)], steps=row.steps, attributes=row.attributes
        )


def _scalar(value: float) -> Tensor:
    return narrow(np.array(value), ElementType.FLOAT)


@quantised("Relu", "Clip")
def saturating(kit: Kit) -> Iterator[Form]:
    """A quantiser gives these their input's grid, or one that saturates where they do."""
    draw = kit.draw("saturating")
    x = kit.activation(draw, (1, 4, 5, 5), -4.0, 8.0)
    top = 6.0 if kit.operator == "Clip" else np.inf
    result = np.clip(x.real, 0.0, top)
    bounds = [Constant(_scalar(0.0)), Constant(_scalar(6.0))] if kit.operator == "Clip" else []
    yield kit.form("saturating", [x, *bounds], [result], steps=1)
    if kit.operator == "Relu":
        yield kit.form("same-grid", [x], [result], steps=0, outputs=[x.grid])


_BINARY: Mapping[str, Callable[[Array, Array], Array]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "Max": np.maximum,
    "Min": np.minimum,
}


@quantised(*_BINARY)
def binary(kit: Kit) -> Iterator[Form]:
    """Operands on grids of their own: alike, broadcast both ways, with a constant, saturated."""
    function = _BINARY[kit.operator]
    for what, left, right, share in (
        ("", (1, 3, 6, 6), (1, 3, 6, 6), 1.0),
        ("broadcast", (1, 3, 1, 6), (3, 5, 1), 1.0),
        ("constant", (1, 4, 5, 5), (4, 1, 1), 1.0),
        ("saturated", (2, 3, 8), (2, 3, 8), 0.6),
    ):
        draw = kit.draw(what)
        a = kit.activation(draw, left, -2.0, 3.0)
        b: Input
        low = 0.5 if kit.operator == "Div" else -np.inf
        if what == "constant":
            b = kit.weight(draw, right)
            if kit.operator == "Div":
                b = dataclasses.replace(b, integers=np.where(b.integers < 64, 64, b.integers))
        else:
            ends = (0.0, 4.0) if kit.operator == "Div" else (-1.5, 1.0)
            b = kit.activation(draw, right, *ends, least=low)
        yield kit.form(what, [a, b], [function(a.real, b.real)], steps=1, share=share)


@quantised("PRelu", weights=True)
def prelu(kit: Kit) -> Iterator[Form]:
    """A slope a channel."""
    draw = kit.draw()
    x = kit.activation(draw, (1, 4, 5, 6))
    slope = kit.weight(draw, (4, 1, 1), size=0.5)
    yield kit.form("", [x, slope], [np.where(x.real < 0, x.real * slope.real, x.real)], steps=1)


@quantised("Where")
def where(kit: Kit) -> Iterator[Form]:
    """Of two grids, and of one."""
    for what in ("", "same-grid"):
        draw = kit.draw(what)
        a = kit.activation(draw, (1, 3, 4, 5), -2.0, 3.0)
        ends = (-2.0, 3.0) if what else (-1.0, 0.5)
        b = kit.activation(draw, (1, 3, 4, 5), *ends)
        chosen = draw.integers((1, 1, 4, 5), 0, 1) == 1
        inputs: list[Input] = [Feed(narrow(chosen, ElementType.BOOL)), a, b]
        result = np.where(chosen, a.real, b.real)
        grids = [a.grid] if what else None
        yield kit.form(what, inputs, [result], steps=0 if what else 1, outputs=grids)


@quantised("Softmax", "LogSoftmax")
def softmax(kit: Kit) -> Iterator[Form]:
    """Over the last axis and over channels, sharp and flat."""
    for what, axis, size in (("", -1, 3.0), ("channels", 1, 3.0), ("sharp", -1, 20.0)):
        x = kit.activation(kit.draw(what), (2, 6, 7), -size, size)
        moved = x.real - x.real.max(axis=axis, keepdims=True)
        total = np.exp(moved).sum(axis=axis, keepdims=True)
        result = moved - np.log(total)
        if kit.operator == "Softmax":
            result = np.exp(result)
        attributes = {} if axis == -1 else {"axis": axis}
        yield kit.form(what, [x], [result], steps=2, attributes=attributes)
