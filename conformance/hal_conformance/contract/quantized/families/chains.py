"""Quantised layers in a row: what one hands to the next may stay integer. Several rows of data."""

from __future__ import annotations

from collections.abc import Iterator

from hal_conformance.contract.families.convolution import CONVS, convolved
from hal_conformance.contract.quantized.families.linear import settings
from hal_conformance.contract.quantized.form import Form, Input, Kit, quantised


@quantised("MatMul", "Gemm", weights=True)
def products(kit: Kit) -> Iterator[Form]:
    """Two layers of eight rows; Gemm with a bias."""
    draw = kit.draw("chain")
    x, first = kit.activation(draw, (8, 16)), kit.weight(draw, (16, 64), axis=1)
    hidden = kit.made("MatMul", [x, first], x.real @ first.real)
    second = kit.weight(draw, (64, 32), axis=1)
    inputs: list[Input] = [hidden, second]
    result = hidden.real @ second.real
    if kit.operator == "Gemm":
        bias = kit.bias(draw, 32, hidden, second)
        inputs.append(bias)
        result = result + bias.real
    yield kit.form("chain", inputs, [result], steps=2)


@quantised("Conv", weights=True)
def convolutions(kit: Kit) -> Iterator[Form]:
    """Two convolutions with pads, which are the zero point."""
    draw = kit.draw("chain")
    row = CONVS["pads"]
    x, first = kit.activation(draw, row.shape), kit.weight(draw, row.weights)
    result = convolved(x.real, first.real, row)
    hidden = kit.made("Conv", [x, first], result, settings(row))
    channels = row.weights[0]
    second = kit.weight(draw, (channels, channels, *row.weights[2:]))
    result = convolved(hidden.real, second.real, row)
    yield kit.form("chain", [hidden, second], [result], steps=2, attributes=settings(row))
