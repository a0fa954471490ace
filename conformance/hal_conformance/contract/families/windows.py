"""Operators that slide a window: convolution and pooling, and pooling over everything."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from hal import ElementType, Tensor
from hal_conformance.contract.draft import Ask, Draft, generates
from hal_conformance.contract.numbers import Array, bounds, is_float, narrow, widen
from hal_conformance.contract.tolerance import EXACT, accumulated, composed, elementary

Shape = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class _Window:
    """How a window slides; `pads` as in the standard, all begins before all ends."""

    kernel: Shape
    strides: Shape
    dilations: Shape
    pads: Shape
    ceil: bool = False

    def extents(self, spatial: Shape) -> Shape:
        """The output's spatial extents."""
        result = []
        rank = len(spatial)
        for i, extent in enumerate(spatial):
            before, after = self.pads[i], self.pads[i + rank]
            reach = (self.kernel[i] - 1) * self.dilations[i] + 1
            steps = extent + before + after - reach
            count = (-(-steps // self.strides[i]) if self.ceil else steps // self.strides[i]) + 1
            if self.ceil and (count - 1) * self.strides[i] >= extent + before:
                count -= 1  # a window that starts in the padding behind is left out
            result.append(count)
        return tuple(result)

    def reads(self, at: Sequence[int], spatial: Shape) -> Iterator[tuple[Shape, Shape]]:
        """For an output position each (place in the kernel, place in the input) that exists."""
        for k in itertools.product(*(range(e) for e in self.kernel)):
            place = tuple(
                a * s + o * d - p
                for a, s, o, d, p in zip(
                    at, self.strides, k, self.dilations, self.pads, strict=False
                )
            )
            if all(0 <= q < e for q, e in zip(place, spatial, strict=True)):
                yield k, place

    def padded_size(self, at: Sequence[int], spatial: Shape) -> int:
        """How many places of the window lie in the input or its padding."""
        size = 1
        rank = len(spatial)
        for i, a in enumerate(at):
            first = a * self.strides[i] - self.pads[i]
            end = spatial[i] + self.pads[i + rank]
            size *= sum(first + o * self.dilations[i] < end for o in range(self.kernel[i]))
        return size


def _everywhere(place: Sequence[int]) -> tuple[Any, ...]:
    """The index of a place in all batches and channels."""
    return (slice(None), slice(None), *place)


def window_attributes(window: _Window) -> dict[str, Any]:
    result: dict[str, Any] = {"kernel_shape": list(window.kernel)}
    if any(s != 1 for s in window.strides):
        result["strides"] = list(window.strides)
    if any(d != 1 for d in window.dilations):
        result["dilations"] = list(window.dilations)
    if any(window.pads):
        result["pads"] = list(window.pads)
    if window.ceil:
        result["ceil_mode"] = 1
    return result


_POOLS: dict[str, tuple[Shape, _Window]] = {
    "plain": ((2, 3, 6, 7), _Window((2, 3), (1, 1), (1, 1), (0, 0, 0, 0))),
    "strides": ((1, 2, 7, 8), _Window((3, 2), (2, 3), (1, 1), (0, 0, 0, 0))),
    "pads": ((1, 2, 5, 6), _Window((3, 3), (2, 2), (1, 1), (1, 0, 2, 1))),
    "dilations": ((1, 2, 8, 9), _Window((2, 3), (1, 2), (3, 2), (0, 0, 0, 0))),
    "ceil": ((1, 2, 7, 6), _Window((2, 3), (2, 2), (1, 1), (0, 0, 0, 0), ceil=True)),
    "vector": ((2, 2, 9), _Window((4,), (2,), (1,), (1, 2))),
    "volume": ((1, 2, 4, 5, 3), _Window((2, 2, 2), (1, 2, 1), (1, 1, 1), (0, 1, 0, 0, 0, 1))),
}


def _pools(ask: Ask) -> Iterator[tuple[str, Shape, _Window]]:
    for slug, (shape, window) in _POOLS.items():
        if ask.full or slug in ("pads", "dilations", "strides"):
            yield slug, shape, window


@generates("AveragePool", "LpPool")
def sum_pool(ask: Ask) -> Iterator[Draft]:
    """Averages with and without the padding in the count; norms of order 1, 2 and 3."""
    variants: tuple[dict[str, int], ...] = ({}, {"count_include_pad": 1})
    if ask.name == "LpPool":
        variants = ({}, {"p": 1}, {"p": 3})
    for slug, shape, window in _pools(ask):
        for extra in variants:
            name = slug + "".join(f"-{k}{v}" for k, v in extra.items()).replace("_", "-")
            if extra and slug != "pads":
                continue
            x = ask.draw(name).tensor(ask.element, shape, -3, 3)
            faulty = ask.name == "LpPool" and window.ceil
            yield ask.draft(
                name,
                [x],
                [_pooled(ask.name, widen(x), window, extra)],
                attributes={**window_attributes(window), **extra},
                tolerance=composed(ask.element, magnitude=3.0),
                oracle="none" if faulty else "widened",
                reason="onnx 1.23.2's evaluator scales a norm over a window that is cut off",
            )


def _pooled(name: str, x: Array, window: _Window, extra: Mapping[str, int]) -> Array:
    spatial = x.shape[2:]
    result = np.zeros((*x.shape[:2], *window.extents(spatial)))
    for at in np.ndindex(*result.shape[2:]):
        places = [p for _, p in window.reads(at, spatial)]
        values = np.stack([x[_everywhere(p)] for p in places], axis=-1)
        if name == "LpPool":
            order = extra.get("p", 2)
            pooled = (np.abs(values) ** order).sum(axis=-1) ** (1 / order)
        else:
            whole = window.padded_size(at, spatial)
            pooled = values.sum(axis=-1) / (whole if extra else len(places))
        result[_everywhere(at)] = pooled
    return result


@generates("MaxPool")
def max_pool(ask: Ask) -> Iterator[Draft]:
    """The values, and where they stood, in both storage orders."""
    if not ask.first:
        return
    for slug, shape, window in _pools(ask):
        for order in (0, 1) if slug == "strides" else (None,):
            name = slug if order is None else f"{slug}-indices{order}"
            x = ask.draw(name).tensor(ask.element, shape, -100, 100)
            if order is not None:
                # No two values alike: which of equal ones counts is not stated.
                low = 0 if ask.element is ElementType.UINT8 else -56
                distinct = np.array(ask.draw(name).order(x.size)).reshape(shape) + low
                x = narrow(distinct, ask.element)
            result, index = _max_pooled(widen(x), window, order)
            settings = {} if not order else {"storage_order": 1}
            outputs = (ask.type,) if order is None else (ask.type, "tensor(int64)")
            yield ask.draft(
                name,
                [x],
                [result] if order is None else [result, index],
                outputs=outputs,
                attributes={**window_attributes(window), **settings},
                oracle="native" if ask.element.bits == 8 else "widened",
            )


def _max_pooled(x: Array, window: _Window, order: int | None) -> tuple[Array, Array]:
    spatial = x.shape[2:]
    extents = (*x.shape[:2], *window.extents(spatial))
    result, index = np.zeros(extents, x.dtype), np.zeros(extents, np.int64)
    for n, c, *at in np.ndindex(*extents):
        plane = x[n, c]
        best = max((p for _, p in window.reads(at, spatial)), key=plane.__getitem__)
        output: tuple[int, ...] = (n, c, *at)
        result[output] = plane[best]
        line = int(np.ravel_multi_index(best, spatial, order="F" if order else "C"))
        index[output] = (n * x.shape[1] + c) * plane.size + line
    return result, index


@generates("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def global_pool(ask: Ask) -> Iterator[Draft]:
    """Over one to three spatial dimensions."""
    for slug, shape in (
        ("image", (2, 3, 4, 5)),
        ("vector", (1, 2, 9)),
        ("volume", (1, 2, 3, 2, 4)),
    ):
        for order in (None, 1) if ask.name == "GlobalLpPool" else (None,):
            name = slug if order is None else f"{slug}-p{order}"
            x = ask.draw(name).tensor(ask.element, shape, -3, 3)
            wide = widen(x)
            axes = tuple(range(2, len(shape)))
            if ask.name == "GlobalAveragePool":
                expected = wide.mean(axis=axes, keepdims=True)
            elif ask.name == "GlobalMaxPool":
                expected = wide.max(axis=axes, keepdims=True)
            else:
                p = order or 2
                expected = (np.abs(wide) ** p).sum(axis=axes, keepdims=True) ** (1 / p)
            exact = ask.name == "GlobalMaxPool"
            yield ask.draft(
                name,
                [x],
                [expected],
                attributes={} if order is None else {"p": order},
                tolerance=EXACT if exact else composed(ask.element, magnitude=3.0),
                oracle="none" if exact and slug != "image" else "widened",
                reason="onnx 1.23.2's evaluator pools the last two dimensions, however many",
            )


@dataclasses.dataclass(frozen=True)
class _Conv:
    shape: Shape
    weights: Shape
    window: _Window
    group: int = 1
    bias: bool = False
    output_padding: Shape = ()


CONVS: dict[str, _Conv] = {
    "plain": _Conv((2, 3, 6, 7), (4, 3, 3, 2), _Window((3, 2), (1, 1), (1, 1), (0,) * 4)),
    "bias": _Conv((1, 3, 5, 5), (2, 3, 3, 3), _Window((3, 3), (1, 1), (1, 1), (1,) * 4), 1, True),
    "strides": _Conv((1, 2, 7, 8), (3, 2, 2, 3), _Window((2, 3), (2, 3), (1, 1), (0,) * 4)),
    "pads": _Conv((1, 2, 5, 6), (3, 2, 3, 3), _Window((3, 3), (2, 1), (1, 1), (1, 0, 2, 1))),
    "dilations": _Conv((1, 2, 8, 9), (3, 2, 2, 3), _Window((2, 3), (1, 1), (3, 2), (0,) * 4)),
    "groups": _Conv((1, 4, 5, 5), (6, 2, 3, 3), _Window((3, 3), (1, 1), (1, 1), (0,) * 4), 2, True),
    "depthwise": _Conv((1, 3, 5, 5), (3, 1, 3, 3), _Window((3, 3), (1, 1), (1, 1), (1,) * 4), 3),
    "pointwise": _Conv((2, 5, 3, 3), (4, 5, 1, 1), _Window((1, 1), (1, 1), (1, 1), (0,) * 4)),
    "vector": _Conv((2, 3, 9), (2, 3, 4), _Window((4,), (2,), (1,), (1, 2)), 1, True),
    "volume": _Conv(
        (1, 2, 4, 3, 5),
        (2, 2, 2, 2, 2),
        _Window((2, 2, 2), (1, 1, 2), (1, 1, 1), (0, 1, 0, 0, 0, 1)),
    ),
}


def convolved(x: Array, w: Array, row: _Conv) -> Array:
    spatial = x.shape[2:]
    out = row.window.extents(spatial)
    result = np.zeros((x.shape[0], w.shape[0], *out), dtype=x.dtype)
    inner, made = w.shape[1], w.shape[0] // row.group
    for at in np.ndindex(*out):
        for k, place in row.window.reads(at, spatial):
            column = x[_everywhere(place)]
            for g in range(row.group):
                part = column[:, g * inner : (g + 1) * inner]
                filters = w[_everywhere(k)][g * made : (g + 1) * made]
                result[_everywhere(at)][:, g * made : (g + 1) * made] += part @ filters.T
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


@generates("Conv", "MaxPool", "AveragePool", "LpPool")
def auto_pad(ask: Ask) -> Iterator[Draft]:
    """Padding that follows from the sizes, of which an odd one goes above or below."""
    if not ask.first or not ask.full:
        return
    spatial, kernel, strides = (6, 7), (3, 2), (2, 2)
    for mode in ("SAME_UPPER", "SAME_LOWER", "VALID"):
        slug = f"auto-{mode.lower().replace('_', '-')}"
        before, after = [], []
        for extent, k, s in zip(spatial, kernel, strides, strict=True):
            total = max(0, (-(-extent // s) - 1) * s + k - extent) if mode != "VALID" else 0
            less = total // 2
            before.append(total - less if mode == "SAME_LOWER" else less)
            after.append(less if mode == "SAME_LOWER" else total - less)
        window = _Window(kernel, strides, (1, 1), (*before, *after))
        draw = ask.draw(slug)
        x = draw.tensor(ask.element, (1, 2, *spatial), -2, 2)
        inputs = [x]
        tolerance = composed(ask.element, magnitude=3.0)
        if ask.name == "Conv":
            inputs.append(draw.tensor(ask.element, (3, 2, *kernel), -2, 2))
            row = _Conv(x.shape, (3, 2, *kernel), window)
            result = convolved(widen(x), widen(inputs[1]), row)
            tolerance = accumulated(ask.element, terms=13, magnitude=48.0)
        elif ask.name == "MaxPool":
            result, tolerance = _max_pooled(widen(x), window, None)[0], EXACT
        else:
            result = _pooled(ask.name, widen(x), window, {})
        faulty = ask.name == "MaxPool" and mode == "SAME_LOWER"
        yield ask.draft(
            slug,
            inputs,
            [result],
            attributes={
                "auto_pad": mode,
                "kernel_shape": list(kernel),
                "strides": list(strides),
            },
            tolerance=tolerance,
            oracle="none" if faulty else "widened",
            reason="onnx 1.23.2's evaluator rounds the output's extent down for SAME_LOWER",
        )


_TRANSPOSED: dict[str, _Conv] = {
    "plain": _Conv((2, 3, 3, 4), (3, 2, 3, 2), _Window((3, 2), (1, 1), (1, 1), (0,) * 4)),
    "strides": _Conv(
        (1, 2, 3, 3), (2, 3, 2, 3), _Window((2, 3), (2, 3), (1, 1), (0,) * 4), 1, True
    ),
    "pads": _Conv((1, 2, 4, 4), (2, 2, 3, 3), _Window((3, 3), (2, 2), (1, 1), (1, 0, 0, 1))),
    "dilations": _Conv((1, 2, 3, 3), (2, 2, 2, 2), _Window((2, 2), (1, 1), (3, 2), (0,) * 4)),
    "output-padding": _Conv(
        (1, 2, 3, 3), (2, 2, 3, 3), _Window((3, 3), (3, 2), (1, 1), (0,) * 4), 1, False, (2, 1)
    ),
    "groups": _Conv((1, 4, 3, 3), (4, 2, 2, 2), _Window((2, 2), (1, 1), (1, 1), (0,) * 4), 2, True),
    "vector": _Conv((2, 2, 5), (2, 3, 3), _Window((3,), (2,), (1,), (1, 1))),
}


def _spread(x: Array, w: Array, row: _Conv) -> Array:
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
                part = x[_everywhere(at)][:, rows] @ w[_everywhere(k)][rows]
                result[_everywhere(place)][:, g * made : (g + 1) * made] += part
    return result


@generates("ConvTranspose")
def conv_transpose(ask: Ask) -> Iterator[Draft]:
    """Strides, asymmetric pads, dilations, output padding, groups, one and two dimensions."""
    for slug, row in _TRANSPOSED.items():
        if not ask.full and slug not in ("strides", "pads", "groups"):
            continue
        draw = ask.draw(slug)
        x = draw.tensor(ask.element, row.shape, -2, 2)
        w = draw.tensor(ask.element, row.weights, -2, 2)
        a, b = widen(x), widen(w)
        result, magnitude = _spread(a, b, row), _spread(np.abs(a), np.abs(b), row)
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


@generates("Det")
def determinant(ask: Ask) -> Iterator[Draft]:
    """Of one matrix and of batches; a matrix of rank one has none."""
    for slug, shape in (("matrix", (3, 3)), ("batch", (2, 2, 4, 4)), ("one", (1, 1))):
        x = ask.draw(slug).tensor(ask.element, shape, -2, 2)
        expected = np.linalg.det(widen(x))
        size = 24 * 16.0 if is_float(ask.element) else 0.0
        yield ask.draft(slug, [x], [expected], tolerance=elementary(ask.element, absolute=size))
