"""Convolutions and products of matrices: integers accumulated, requantised once."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from hal_conformance.contract.families._window import window_attributes
from hal_conformance.contract.families.convolution import (
    CONVS,
    TRANSPOSED,
    Conv,
    convolved,
    spread,
)
from hal_conformance.contract.numbers import Array, bounds
from hal_conformance.contract.quantized.form import Form, Input, Kit, Weight, quantised
from hal_conformance.contract.quantized.grid import calibrated

_ALWAYS = ("bias", "pads", "groups", "depthwise")


def settings(row: Conv) -> dict[str, Any]:
    """The attributes of a convolution."""
    attributes = window_attributes(row.window)
    if row.group > 1:
        attributes["group"] = row.group
    if row.output_padding:
        attributes["output_padding"] = list(row.output_padding)
    return attributes


def raised(bias: Array, rank: int) -> Array:
    """A bias of channels, to be added to a result of that rank."""
    return bias.reshape((1, -1) + (1,) * (rank - 2))


@quantised("Conv", weights=True)
def conv(kit: Kit) -> Iterator[Form]:
    """Asymmetric pads (with the zero point), strides, dilations, groups, depthwise, bias or none,
    one dimension and two; an output that saturates."""
    for what, row in CONVS.items():
        if what not in _ALWAYS and kit.scheme.name not in ("int8", "uint8"):
            continue
        draw = kit.draw(what)
        x, w = kit.activation(draw, row.shape), kit.weight(draw, row.weights)
        result = convolved(x.real, w.real, row)
        inputs: list[Input] = [x, w]
        if row.bias:
            bias = kit.bias(draw, row.weights[0], x, w)
            inputs.append(bias)
            result = result + raised(bias.real, result.ndim)
        share = 0.5 if what == "groups" else 1.0
        yield kit.form(what, inputs, [result], steps=1, attributes=settings(row), share=share)


@quantised("ConvTranspose", weights=True)
def conv_transpose(kit: Kit) -> Iterator[Form]:
    """Strides, pads, groups, output padding; channels of the result are axis 1 of the weights."""
    for what, row in TRANSPOSED.items():
        if what not in ("strides", "pads", "output-padding"):
            continue
        draw = kit.draw(what)
        x, w = kit.activation(draw, row.shape), kit.weight(draw, row.weights, axis=1)
        result = spread(x.real, w.real, row)
        inputs: list[Input] = [x, w]
        if row.bias:
            bias = kit.bias(draw, row.weights[1], x, w)
            inputs.append(bias)
            result = result + raised(bias.real, result.ndim)
        yield kit.form(what, inputs, [result], steps=1, attributes=settings(row))


@quantised("MatMul", weights=True)
def matmul(kit: Kit) -> Iterator[Form]:
    """By weights in two and three dimensions, a long sum, and of two activations."""
    for what, left, right, share in (
        ("", (4, 16), (16, 8), 1.0),
        ("batch", (2, 3, 16), (16, 8), 1.0),
        ("long", (2, 512), (512, 6), 1.0),
        ("saturated", (5, 24), (24, 7), 0.4),
    ):
        draw = kit.draw(what)
        x, w = kit.activation(draw, left), kit.weight(draw, right, axis=1)
        yield kit.form(what, [x, w], [np.matmul(x.real, w.real)], steps=1, share=share)
    if kit.scheme.channels:
        return
    draw = kit.draw("activations")
    a, b = kit.activation(draw, (2, 3, 4, 8)), kit.activation(draw, (2, 3, 8, 5), -1.0, 2.0)
    yield kit.form("activations", [a, b], [np.matmul(a.real, b.real)], steps=1)


@quantised("Gemm", weights=True)
def gemm(kit: Kit) -> Iterator[Form]:
    """A fully connected layer: weights by rows (transB) and by columns, with a bias and without."""
    for what, transposed, biased in (("", 1, True), ("columns", 0, True), ("no-bias", 1, False)):
        draw = kit.draw(what)
        x = kit.activation(draw, (3, 20))
        w = kit.weight(draw, (10, 20) if transposed else (20, 10), axis=1 - transposed)
        inputs: list[Input] = [x, w]
        result = x.real @ (w.real.T if transposed else w.real)
        if biased:
            bias = kit.bias(draw, 10, x, w)
            inputs.append(bias)
            result = result + bias.real
        yield kit.form(
            what, inputs, [result], steps=1, attributes={"transB": 1} if transposed else {}
        )


@quantised("Conv", "MatMul", weights=True)
def extremes(kit: Kit) -> Iterator[Form]:
    """All activations and weights at the ends of their types, of one sign and of both: sums of two
    products do not fit 16 bits, nor do their sums 24."""
    if kit.scheme.channels:
        return
    for what in ("extremes", "extremes-mixed"):
        draw = kit.draw(what)
        least, most = bounds(kit.scheme.activation)
        low, high = bounds(kit.scheme.weight)
        shape, weights = ((1, 16, 4, 4), (4, 16, 3, 3))
        if kit.operator == "MatMul":
            shape, weights = (4, 144), (144, 4)  # type: ignore[assignment]
        x = kit.activation(draw, shape)
        w = kit.weight(draw, weights)
        mixed = what == "extremes-mixed"
        ends = draw.integers(shape, 0, 1) == 1 if mixed else np.ones(shape, bool)
        signs = draw.integers(weights, 0, 1) == 1 if mixed else np.ones(weights, bool)
        x = dataclasses.replace(
            x, values=x.grid.real(np.where(ends, most, least)).astype(np.float32)
        )
        # -128 is no weight that a symmetric quantiser writes.
        bottom = low + 1 if low < 0 else low
        w = Weight(np.where(signs, high, bottom), w.grid)
        if kit.operator == "Conv":
            row = CONVS["plain"]
            window = dataclasses.replace(row.window, kernel=(3, 3))
            row = Conv(shape, weights, window)
            result, attributes = convolved(x.real, w.real, row), settings(row)
        else:
            result, attributes = np.matmul(x.real, w.real), {}
        # A grid on which half of the largest sum does not saturate, so that a lost bit shows.
        top = float(np.abs(result).max()) * 1.25
        grid = calibrated(-top, top, kit.scheme.activation, symmetric=kit.scheme.symmetric)
        yield kit.form(what, [x, w], [result], steps=1, outputs=[grid], attributes=attributes)
