"""Pooling, reductions and normalisation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from hal import ElementType
from hal_conformance.contract.families._window import window_attributes
from hal_conformance.contract.families.pooling import POOLS, max_pooled, pooled
from hal_conformance.contract.numbers import Array, narrow
from hal_conformance.contract.quantized.form import Constant, Form, Input, Kit, quantised


@quantised("AveragePool", "MaxPool")
def pool(kit: Kit) -> Iterator[Form]:
    """Strides, asymmetric pads in and out of the count, windows that are cut off."""
    for what in ("plain", "strides", "pads", "vector"):
        shape, window = POOLS[what]
        for extra in ({}, {"count_include_pad": 1}):
            if extra and (what != "pads" or kit.operator == "MaxPool"):
                continue
            name = f"{what}-counted" if extra else what
            x = kit.activation(kit.draw(name), shape)
            attributes = {**window_attributes(window), **extra}
            if kit.operator == "MaxPool":
                best = max_pooled(x.real, window, None)[0]
                yield kit.form(name, [x], [best], steps=0, outputs=[x.grid], attributes=attributes)
                continue
            mean = pooled("AveragePool", x.real, window, extra)
            yield kit.form(name, [x], [mean], steps=1, attributes=attributes)


@quantised("GlobalAveragePool")
def global_pool(kit: Kit) -> Iterator[Form]:
    """Over an image, and over one large enough that a sum needs more than 16 bits."""
    for what, shape in (("", (2, 3, 5, 7)), ("large", (1, 2, 24, 24))):
        x = kit.activation(kit.draw(what), shape, 0.0 if what else -3.0, 6.0)
        yield kit.form(what, [x], [x.real.mean(axis=(2, 3), keepdims=True)], steps=1)


@quantised("ReduceMean", "ReduceSum", "ReduceMax")
def reduce(kit: Kit) -> Iterator[Form]:
    """Over the image, and over the last axis without keeping it."""
    function = {"ReduceMean": np.mean, "ReduceSum": np.sum, "ReduceMax": np.max}[kit.operator]
    for what, axes, keep in (("image", (2, 3), 1), ("last", (-1,), 0)):
        x = kit.activation(kit.draw(what), (2, 3, 4, 5))
        result = np.asarray(function(x.real, axis=axes, keepdims=bool(keep)))  # type: ignore[operator]
        attributes: dict[str, Any] = {"keepdims": keep}
        inputs: list[Any] = [x]
        # Axes became an input with opset 13 for ReduceSum, and with 18 for the others.
        if kit.operator == "ReduceSum" or kit.scheme.opset >= 18:
            inputs.append(Constant(narrow(np.array(axes), ElementType.INT64)))
        else:
            attributes["axes"] = list(axes)
        exact = kit.operator == "ReduceMax"
        yield kit.form(
            what,
            inputs,
            [result],
            steps=0 if exact else 1,
            outputs=[x.grid] if exact else None,
            attributes=attributes,
        )


@quantised("CumSum")
def cumulate(kit: Kit) -> Iterator[Form]:
    """Forward, and backward without the element itself."""
    for what, attributes in (("", {}), ("reverse-exclusive", {"reverse": 1, "exclusive": 1})):
        x = kit.activation(kit.draw(what), (2, 3, 7))
        result = np.cumsum(x.real, axis=2)
        if attributes:
            result = np.cumsum(x.real[..., ::-1], axis=2)[..., ::-1] - x.real
        axis = Constant(narrow(np.array(2), ElementType.INT64))
        yield kit.form(what, [x, axis], [result], steps=1, attributes=attributes)


def _standardised(x: Array, axes: tuple[int, ...], epsilon: float) -> Array:
    mean = x.mean(axis=axes, keepdims=True)
    return np.asarray(
        (x - mean) / np.sqrt(((x - mean) ** 2).mean(axis=axes, keepdims=True) + epsilon)
    )


@quantised("LayerNormalization", "InstanceNormalization", weights=True)
def normalise(kit: Kit) -> Iterator[Form]:
    """A quantised scale and an int32 bias at the scale of the products."""
    if kit.scheme.channels:
        return  # a scale a channel of a vector is a scale an element
    draw = kit.draw()
    whole = kit.operator == "LayerNormalization"
    x = kit.activation(draw, (2, 3, 12) if whole else (2, 4, 5, 6))
    count = 12 if whole else 4
    scale = kit.weight(draw, (count,))
    bias = kit.bias(draw, count, x, scale)
    shape = (count,) if whole else (1, count, 1, 1)
    normal = _standardised(x.real, (-1,) if whole else (2, 3), 1e-5)
    result = normal * scale.real.reshape(shape) + bias.real.reshape(shape)
    yield kit.form("", [x, scale, bias], [result], steps=2, opset=17 if whole else 0)


@quantised("BatchNormalization", weights=True)
def batch_normalise(kit: Kit) -> Iterator[Form]:
    """Scale and bias are quantised, mean and variance are not."""
    if kit.scheme.channels:
        return
    draw = kit.draw()
    x = kit.activation(draw, (2, 4, 3, 5))
    scale = kit.weight(draw, (4,))
    bias = kit.bias(draw, 4, x, scale)
    mean = narrow(draw.floats((4,), -1, 1), ElementType.FLOAT)
    variance = narrow(draw.floats((4,), 0.5, 2), ElementType.FLOAT)
    m, v = (t.numpy().astype(np.float64).reshape(1, 4, 1, 1) for t in (mean, variance))
    normal = (x.real - m) / np.sqrt(v + 1e-5)
    result = normal * scale.real.reshape(1, 4, 1, 1) + bias.real.reshape(1, 4, 1, 1)
    inputs: list[Input] = [x, scale, bias, Constant(mean), Constant(variance)]
    # Version 9 is not asked of the reference evaluator: it blends the batch's own statistics in.
    yield kit.form("", inputs, [result], steps=2, opset=15)
