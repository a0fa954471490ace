"""The QLinear operators of com.microsoft.

Expected is the real operator on what the integers stand for, requantised by the documented formula.
A result may be one step off, because a device may requantise by a fixed-point number.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from hal import ElementType, Tensor
from hal_conformance.contract.draft import Ask, Draft, generates
from hal_conformance.contract.draw import Draw
from hal_conformance.contract.families._window import window_attributes
from hal_conformance.contract.families.pooling import POOLS, max_pooled, pooled
from hal_conformance.contract.numbers import Array, bounds, narrow, widen
from hal_conformance.contract.quantized.grid import Grid, calibrated
from hal_conformance.contract.tolerance import EXACT, STEPS, Tolerance, accumulated

_MS = "com.microsoft::"
_STEP = Tolerance(0.0, 1.0, STEPS[1])
_STEPS = Tolerance(0.0, 2.0, STEPS[2])


@dataclasses.dataclass(frozen=True)
class _Operand:
    """Integers over all of their grid, and the tensors that an operator takes for them."""

    integers: Array
    grid: Grid

    @classmethod
    def drawn(
        cls, draw: Draw, element: ElementType, shape: tuple[int, ...], low: float, high: float
    ) -> _Operand:
        return cls(draw.integers(shape, *bounds(element)), calibrated(low, high, element))

    @property
    def real(self) -> Array:
        return self.grid.real(self.integers)

    @property
    def tensors(self) -> list[Tensor]:
        return [narrow(self.integers, self.grid.element), *parameters(self.grid)]


def parameters(grid: Grid) -> list[Tensor]:
    """Scale and zero point."""
    return [narrow(grid.scale, ElementType.FLOAT), narrow(grid.zero, grid.element)]


def _output(result: Array, element: ElementType, share: float = 1.0) -> Grid:
    return calibrated(float(result.min()) * share, float(result.max()) * share, element)


def _requantised(
    ask: Ask,
    slug: str,
    operands: list[_Operand],
    result: Array,
    composition: str,
    *,
    share: float = 1.0,
    tolerance: Tolerance = _STEP,
    attributes: Mapping[str, Any] | None = None,
) -> Draft:
    """The usual order of inputs: each operand with its scale and zero point, then the output's.
    `composition` makes `r` of `a`, `b` ..."""
    grid = _output(result, ask.element, share)
    inputs = [t for o in operands for t in o.tensors] + parameters(grid)
    steps = ""
    for i, letter in enumerate("ab"[: len(operands)]):
        steps += f"{letter} = DequantizeLinear(x{3 * i}, x{3 * i + 1}, x{3 * i + 2}) "
    end = 3 * len(operands)
    steps += f"{composition} y0 = QuantizeLinear(r, x{end}, x{end + 1})"
    # The parameters are constants, as quantisers write them, and some engines ask for.
    return ask.draft(
        slug,
        inputs,
        [grid.quantise(result)],
        attributes=dict(attributes or {}),
        constants=frozenset(i for i in range(len(inputs)) if i % 3 or i >= end),
        composition=steps,
        tolerance=tolerance,
    )


@generates(_MS + "QLinearAdd", _MS + "QLinearMul")
def binary(ask: Ask) -> Iterator[Draft]:
    """Alike, broadcast both ways, a scalar, a length that fills no vector, an output that
    saturates."""
    name = ask.name.removeprefix("QLinear")
    function: Callable[[Array, Array], Array] = np.add if name == "Add" else np.multiply
    for slug, left, right, share in (
        ("plain", (2, 3, 8), (2, 3, 8), 1.0),
        ("broadcast", (2, 1, 5), (3, 1), 1.0),
        ("scalar", (3, 7), (), 1.0),
        ("long", (1, 131), (1, 131), 1.0),
        ("saturated", (4, 16), (4, 16), 0.5),
    ):
        draw = ask.draw(slug)
        a = _Operand.drawn(draw, ask.element, left, -2.0, 3.0)
        b = _Operand.drawn(draw, ask.element, right, -1.5, 1.0)
        yield _requantised(
            ask, slug, [a, b], function(a.real, b.real), f"r = {name}(a, b)", share=share
        )


def _softmax(x: Array, axis: int) -> Array:
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return np.asarray(e / e.sum(axis=axis, keepdims=True))


@generates(_MS + "QLinearSigmoid", _MS + "QLinearLeakyRelu")
def unary(ask: Ask) -> Iterator[Draft]:
    """All 256 integers; steep and flat."""
    leaky = ask.name == "QLinearLeakyRelu"
    for slug, size, slope in (("every", 4.0, 0.125), ("flat", 20.0, 0.5)):
        low, high = bounds(ask.element)
        x = _Operand(
            np.arange(low, high + 1).reshape(4, 64), calibrated(-size, size * 0.75, ask.element)
        )
        result = (
            np.where(x.real < 0, slope * x.real, x.real) if leaky else 1 / (1 + np.exp(-x.real))
        )
        how = f"r = LeakyRelu <alpha = {slope}> (a)" if leaky else "r = Sigmoid(a)"
        yield _requantised(
            ask,
            slug,
            [x],
            result,
            how,
            tolerance=_STEP if leaky else _STEPS,
            attributes={"alpha": slope} if leaky else {},
        )


@generates(_MS + "QLinearSoftmax")
def softmax(ask: Ask) -> Iterator[Draft]:
    """By the rule of opset 13, over the last axis and another."""
    for slug, axis in (("last", -1), ("middle", 1)):
        x = _Operand.drawn(ask.draw(slug), ask.element, (2, 5, 6), -3.0, 3.0)
        yield _requantised(
            ask,
            slug,
            [x],
            _softmax(x.real, axis),
            f"r = Softmax <axis = {axis}> (a)",
            tolerance=_STEPS,
            attributes={"axis": axis, "opset": 13},
        )


@generates(_MS + "QLinearAveragePool")
def average_pool(ask: Ask) -> Iterator[Draft]:
    """Strides, asymmetric pads in and out of the count, channels last."""
    for slug, counted, last in (
        ("plain", 0, 0),
        ("strides", 0, 0),
        ("pads", 0, 0),
        ("pads-counted", 1, 0),
        ("channels-last", 0, 1),
    ):
        shape, window = POOLS[slug if slug in POOLS else "pads" if counted else "strides"]
        x = _Operand.drawn(ask.draw(slug), ask.element, shape, -2.0, 3.0)
        result = pooled("AveragePool", x.real, window, {"count_include_pad": 1} if counted else {})
        settings = window_attributes(window)
        written = ", ".join(f"{k} = {list(v)}" for k, v in settings.items())
        written += f", count_include_pad = {counted}"
        how = f"r = AveragePool <{written}> (a)"
        if last:
            x = dataclasses.replace(x, integers=x.integers.transpose(0, 2, 3, 1))
            result = result.transpose(0, 2, 3, 1)
            how = (
                "t = Transpose <perm = [0, 3, 1, 2]> (a) "
                f"u = AveragePool <{written}> (t) r = Transpose <perm = [0, 2, 3, 1]> (u)"
            )
        attributes = {**settings, "count_include_pad": counted, "channels_last": last}
        yield _requantised(ask, slug, [x], result, how, attributes=attributes)


@generates(_MS + "QLinearGlobalAveragePool")
def global_pool(ask: Ask) -> Iterator[Draft]:
    """Channels first and last, and an image whose sum needs more than 16 bits."""
    for slug, shape, last in (
        ("plain", (2, 3, 5, 7), 0),
        ("channels-last", (2, 5, 7, 3), 1),
        ("large", (1, 2, 24, 24), 0),
    ):
        x = _Operand.drawn(ask.draw(slug), ask.element, shape, -1.0, 6.0)
        axes = (1, 2) if last else (2, 3)
        how = "r = GlobalAveragePool(a)"
        if last:
            how = (
                "t = Transpose <perm = [0, 3, 1, 2]> (a) u = GlobalAveragePool(t) "
                "r = Transpose <perm = [0, 2, 3, 1]> (u)"
            )
        result = x.real.mean(axis=axes, keepdims=True)
        yield _requantised(ask, slug, [x], result, how, attributes={"channels_last": last})


@generates(_MS + "QLinearReduceMean")
def reduce_mean(ask: Ask) -> Iterator[Draft]:
    """Over two axes, kept."""
    x = _Operand.drawn(ask.draw("kept"), ask.element, (2, 3, 4, 5), -2.0, 3.0)
    yield _requantised(
        ask,
        "kept",
        [x],
        x.real.mean(axis=(2, 3), keepdims=True),
        "n = Constant <value_ints = [2, 3]> () r = ReduceMean(a, n)",
        attributes={"axes": [2, 3], "keepdims": 1},
    )


@generates(_MS + "QLinearConcat")
def concat(ask: Ask) -> Iterator[Draft]:
    """Three parts on grids of their own, along the first and the last axis."""
    if ask.constraint != "T8":
        return
    for slug, axis in (("channels", 1), ("last", -1)):
        draw = ask.draw(slug)
        ranges = ((-1.0, 2.0), (-3.0, 1.0), (-0.5, 0.5))
        shapes = [(2, 2 + i, 3) if axis == 1 else (2, 2, 3 + i) for i in range(3)]
        parts = [
            _Operand.drawn(draw, ask.element, s, *r) for s, r in zip(shapes, ranges, strict=True)
        ]
        result = np.concatenate([p.real for p in parts], axis=axis)
        grid = _output(result, ask.element)
        inputs = parameters(grid) + [t for p in parts for t in p.tensors]
        steps = " ".join(
            f"p{i} = DequantizeLinear(x{2 + 3 * i}, x{3 + 3 * i}, x{4 + 3 * i})" for i in range(3)
        )
        steps += f" r = Concat <axis = {axis}> (p0, p1, p2) y0 = QuantizeLinear(r, x0, x1)"
        yield ask.draft(
            slug,
            inputs,
            [grid.quantise(result)],
            attributes={"axis": axis},
            constants=frozenset(i for i in range(len(inputs)) if i < 2 or (i - 2) % 3),
            composition=steps,
            tolerance=_STEP,
        )


@generates(_MS + "QLinearWhere")
def where(ask: Ask) -> Iterator[Draft]:
    """Two grids into a third, the condition broadcast."""
    if ask.constraint != "T":
        return
    draw = ask.draw("grids")
    a = _Operand.drawn(draw, ask.element, (2, 3, 5), -2.0, 3.0)
    b = _Operand.drawn(draw, ask.element, (2, 3, 5), -1.0, 0.5)
    chosen = draw.integers((3, 1), 0, 1) == 1
    result = np.where(chosen, a.real, b.real)
    grid = _output(result, ask.element)
    inputs = [narrow(chosen, ElementType.BOOL), *a.tensors, *b.tensors, *parameters(grid)]
    yield ask.draft(
        "grids",
        inputs,
        [grid.quantise(result)],
        constants=frozenset({2, 3, 5, 6, 7, 8}),
        composition="a = DequantizeLinear(x1, x2, x3) b = DequantizeLinear(x4, x5, x6)"
        " r = Where(x0, a, b) y0 = QuantizeLinear(r, x7, x8)",
        tolerance=_STEP,
    )


@generates(_MS + "QGemm")
def gemm(ask: Ask) -> Iterator[Draft]:
    """To real numbers and to integers, transposed, a scale a column, an int32 bias."""
    if ask.constraint != "TA":
        return
    for slug, to_real, transposed, columns, biased in (
        ("real", True, 0, False, False),
        ("real-bias", True, 1, True, True),
        ("integers", False, 0, False, True),
        ("columns", False, 0, True, False),
    ):
        draw = ask.draw(slug)
        a = _Operand.drawn(draw, ask.element, (3, 12), -2.0, 3.0)
        low, high = bounds(ElementType.INT8)
        b = draw.integers((12, 5), low + 1, high)
        b_scale = widen(draw.tensor(ElementType.FLOAT, (5,) if columns else (), 0.005, 0.02))
        b_zero = np.zeros(5 if columns else (), np.int64)
        c = draw.integers((5,), -3000, 3000)
        total = (a.integers - a.grid.zero) @ b + (c if biased else 0)
        result = total * (float(a.grid.scale) * b_scale)
        stored = b.T if transposed else b
        inputs: list[Tensor | None] = [
            *a.tensors,
            narrow(stored, ElementType.INT8),
            narrow(b_scale, ElementType.FLOAT),
            narrow(b_zero, ElementType.INT8),
            narrow(c, ElementType.INT32) if biased else None,
        ]
        steps = "t = Transpose <perm = [1, 0]> (x3)" if transposed else "t = Identity(x3)"
        steps += " p = MatMulInteger(x0, t, x2, x5)"
        steps += " q = Add(p, x6)" if biased else " q = Identity(p)"
        steps += " s = Mul(x1, x4) u = Cast <to = 11> (q) r = Mul(u, s)"
        if to_real:
            while inputs[-1] is None:
                inputs.pop()
            expected, outputs, near = (
                result,
                ["tensor(float)"],
                accumulated(
                    ElementType.FLOAT, terms=2, magnitude=float(np.abs(result).max()), steps=2
                ),
            )
            steps += " y0 = Identity(r)"
        else:
            grid = _output(result, ask.element)
            inputs += parameters(grid)
            expected, outputs, near = grid.quantise(result), [ask.type], _STEP
            steps += " y0 = QuantizeLinear(r, x7, x8)"
        yield ask.draft(
            slug,
            inputs,
            [expected],
            outputs=outputs,
            attributes={"transB": transposed},
            constants=frozenset(i for i in range(1, len(inputs)) if inputs[i] is not None),
            composition=steps,
            tolerance=near,
        )


@generates(_MS + "NhwcMaxPool")
def nhwc_max_pool(ask: Ask) -> Iterator[Draft]:
    """Channels last, with strides and pads."""
    for slug in ("strides", "pads"):
        shape, window = POOLS[slug]
        low, high = bounds(ask.element)
        x = ask.draw(slug).integers(shape, low, high)
        best = max_pooled(x, window, None)[0]
        settings = window_attributes(window)
        written = ", ".join(f"{k} = {list(v)}" for k, v in settings.items())
        yield ask.draft(
            slug,
            [narrow(x.transpose(0, 2, 3, 1), ask.element)],
            [best.transpose(0, 2, 3, 1)],
            attributes=settings,
            composition="t = Transpose <perm = [0, 3, 1, 2]> (x0)"
            f" u = MaxPool <{written}> (t) y0 = Transpose <perm = [0, 2, 3, 1]> (u)",
            tolerance=EXACT,
        )
