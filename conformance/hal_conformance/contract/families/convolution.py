"""Convolutions, forward and transposed, and over integers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from hal import ElementType, Tensor
from hal_conformance.contract.draft import Ask, Draft, generates
from hal_conformance.contract.families._window import (
    Shape,
    Window,
    everywhere,
    window_attributes,
)
from hal_conformance.contract.numbers import Array, bounds, widen
from hal_conformance.contract.tolerance import accumulated

__all__ = ["CONVS", "TRANSPOSED", "Conv", "convolved", "spread"]


@dataclasses.dataclass(frozen=True)
class Conv:
    shape: Shape
    weights: Shape
    window: Window
    group: int = 1
    bias: bool = False
    output_padding: Shape = ()


CONVS: dict[str, Conv] = {
    "plain": Conv((2, 3, 6, 7), (4, 3, 3, 2), Window((3, 2), (1, 1), (1, 1), (0,) * 4)),
    "bias": Conv((1, 3, 5, 5), (2, 3, 3, 3), Window((3, 3), (1, 1), (1, 1), (1,) * 4), 1, True),
    "strides": Conv((1, 2, 7, 8), (3, 2, 2, 3), Window((2, 3), (2, 3), (1, 1), (0,) * 4)),
    "pads": Conv((1, 2, 5, 6), (3, 2, 3, 3), Window((3, 3), (2, 1), (1, 1), (1, 0, 2, 1))),
    "dilations": Conv((1, 2, 8, 9), (3, 2, 2, 3), Window((2, 3), (1, 1), (3, 2), (0,) * 4)),
    "groups": Conv((1, 4, 5, 5), (6, 2, 3, 3), Window((3, 3), (1, 1), (1, 1), (0,) * 4), 2, True),
    "depthwise": Conv((1, 3, 5, 5), (3, 1, 3, 3), Window((3, 3), (1, 1), (1, 1), (1,) * 4), 3),
    "pointwise": Conv((2, 5, 3, 3), (4, 5, 1, 1), Window((1, 1), (1, 1), (1, 1), (0,) * 4)),
    "vector": Conv((2, 3, 9), (2, 3, 4), Window((4,), (2,), (1,), (1, 2)), 1, True),
    "volume": Conv(
        (1, 2, 4, 3, 5),
        (2, 2, 2, 2, 2),
        Window((2, 2, 2), (1, 1, 2), (1, 1, 1), (0, 1, 0, 0, 0, 1)),
    ),
}


def convolved(x: Array, w: Array, row: Conv) -> Array:
    spatial = x.shape[2:]
    out = row.window.extents(spatial)
    result = np.zeros((x.shape[0], w.shape[0], *out), dtype=x.dtype)
    inner, made = w.shape[1], w.shape[0] // row.group
    for at in np.ndindex(*out):
        for k, place in row.window.reads(at, spatial):
            column = x[everywhere(place)]
            for g in range(row.group):
                part = column[:, g * inner : (g + 1) * inner]
                filters = w[everywhere(k)][g * made : (g + 1) * made]
                result[everywhere(at)][:, g * made : (g + 1) * made] += part @ filters.T
    return result


@generates("Conv")
def conv(ask: Ask) -> Iterator[Draft]:
    """Strides, asymmetric pads, dilations, groups, one to three dimensions, bias or none."""
    for slug, row in CONVS.items():
        if not ask.full and slug not in ("bias", "pads", "groups"):
            continue
        draw = ask.draw(slug)
        x = draw.tensor(ask.element, row.shape, -2, 2)
        w = draw.tensor(ask.element, row.weights, -2, 2)
        a, b = widen(x), widen(w)
        result, magnitude = convolved(a, b, row), convolved(np.abs(a), np.abs(b), row)
        inputs = [x, w]
        if row.bias:
            bias = draw.tensor(ask.element, row.weights[:1], -2, 2)
            inputs.append(bias)
            result = result + widen(bias).reshape((1, -1) + (1,) * (result.ndim - 2))
        attributes = window_attributes(row.window)
        if row.group > 1:
            attributes["group"] = row.group
        yield ask.draft(
            slug,
            inputs,
            [result],
            attributes=attributes,
            tolerance=accumulated(
                ask.element,
                terms=int(np.prod(row.weights[1:])) + 1,
                magnitude=float(magnitude.max()) + 2,
                rounded=float(np.abs(result).max()),
            ),
        )


TRANSPOSED: dict[str, Conv] = {
    "plain": Conv((2, 3, 3, 4), (3, 2, 3, 2), Window((3, 2), (1, 1), (1, 1), (0,) * 4)),
    "strides": Conv((1, 2, 3, 3), (2, 3, 2, 3), Window((2, 3), (2, 3), (1, 1), (0,) * 4), 1, True),
    "pads": Conv((1, 2, 4, 4), (2, 2, 3, 3), Window((3, 3), (2, 2), (1, 1), (1, 0, 0, 1))),
    "dilations": Conv((1, 2, 3, 3), (2, 2, 2, 2), Window((2, 2), (1, 1), (3, 2), (0,) * 4)),
    "output-padding": Conv(
        (1, 2, 3, 3), (2, 2, 3, 3), Window((3, 3), (3, 2), (1, 1), (0,) * 4), 1, False, (2, 1)
    ),
    "groups": Conv((1, 4, 3, 3), (4, 2, 2, 2), Window((2, 2), (1, 1), (1, 1), (0,) * 4), 2, True),
    "vector": Conv((2, 2, 5), (2, 3, 3), Window((3,), (2,), (1,), (1, 1))),
}


def spread(x: Array, w: Array, row: Conv) -> Array:
    spatial, window = x.shape[2:], row.window
    rank = len(spatial)
    extra = row.output_padding or (0,) * rank
    out = tuple(
        (spatial[i] - 1) * window.strides[i]
        + extra[i]
        + (window.kernel[i] - 1) * window.dilations[i]
        + 1
        - window.pads[i]
        - window.pads[i + rank]
        for i in range(rank)
    )
    made = w.shape[1]
    inner = x.shape[1] // row.group
    result = np.zeros((x.shape[0], made * row.group, *out))
    for at in np.ndindex(*spatial):
        for k in np.ndindex(*window.kernel):
            place = tuple(
                at[i] * window.strides[i] + k[i] * window.dilations[i] - window.pads[i]
                for i in range(rank)
            )
            if not all(0 <= q < e for q, e in zip(place, out, strict=True)):
                continue
            for g in range(row.group):
                rows = slice(g * inner, (g + 1) * inner)
                part = x[everywhere(at)][:, rows] @ w[everywhere(k)][rows]
                result[everywhere(place)][:, g * made : (g + 1) * made] += part
    return result


@generates("ConvTranspose")
def conv_transpose(ask: Ask) -> Iterator[Draft]:
    """Strides, asymmetric pads, dilations, output padding, groups, one and two dimensions."""
    for slug, row in TRANSPOSED.items():
        if not ask.full and slug not in ("strides", "pads", "groups"):
            continue
        draw = ask.draw(slug)
        x = draw.tensor(ask.element, row.shape, -2, 2)
        w = draw.tensor(ask.element, row.weights, -2, 2)
        a, b = widen(x), widen(w)
        result, magnitude = spread(a, b, row), spread(np.abs(a), np.abs(b), row)
        inputs = [x, w]
        if row.bias:
            bias = draw.tensor(ask.element, (row.weights[1] * row.group,), -2, 2)
            inputs.append(bias)
            result = result + widen(bias).reshape((1, -1) + (1,) * (result.ndim - 2))
        attributes = window_attributes(row.window)
        if row.group > 1:
            attributes["group"] = row.group
        if row.output_padding:
            attributes["output_padding"] = list(row.output_padding)
        terms = int(row.weights[0] * np.prod(row.weights[2:])) + 1
        yield ask.draft(
            slug,
            inputs,
            [result],
            attributes=attributes,
            tolerance=accumulated(
                ask.element,
                terms=terms,
                magnitude=float(magnitude.max()) + 2,
                rounded=float(np.abs(result).max()),
            ),
        )


@generates("ConvInteger")
def conv_integer(ask: Ask) -> Iterator[Draft]:
    """Each pair of types, with and without zero points; padding stands for the zero point."""
    if not ask.first:
        return
    row = CONVS["pads"]
    for other in (ElementType.UINT8, ElementType.INT8):
        for zeros in (0, 1, 2):
            slug = f"by-{other.onnx_name}-zeros{zeros}"
            draw = ask.draw(slug)
            x = draw.tensor(ask.element, row.shape, *(float(v) for v in bounds(ask.element)))
            w = draw.tensor(other, row.weights, *(float(v) for v in bounds(other)))
            points: list[Tensor] = [
                draw.tensor(ask.element, (), 1, 9),
                draw.tensor(other, (), 1, 9),
            ]
            a, b = widen(x), widen(w)
            if zeros > 0:
                a = a - widen(points[0])
            if zeros > 1:
                b = b - widen(points[1])
            yield ask.draft(
                slug,
                [x, w, *points[:zeros]],
                [convolved(a, b, row)],
                outputs=("tensor(int32)",),
                attributes=window_attributes(row.window),
                oracle="native",
            )
