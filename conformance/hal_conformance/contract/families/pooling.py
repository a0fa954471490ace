"""Pooling: over windows, over everything, and with the padding that follows from the sizes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from hal import ElementType
from hal_conformance.contract.draft import Ask, Draft, generates
from hal_conformance.contract.families._window import (
    Shape,
    Window,
    everywhere,
    window_attributes,
)
from hal_conformance.contract.families.convolution import Conv, convolved
from hal_conformance.contract.numbers import Array, narrow, widen
from hal_conformance.contract.tolerance import EXACT, Tolerance, accumulated, composed

__all__ = ["POOLS", "max_pooled", "pooled"]

POOLS: dict[str, tuple[Shape, Window]] = {
    "plain": ((2, 3, 6, 7), Window((2, 3), (1, 1), (1, 1), (0, 0, 0, 0))),
    "strides": ((1, 2, 7, 8), Window((3, 2), (2, 3), (1, 1), (0, 0, 0, 0))),
    "pads": ((1, 2, 5, 6), Window((3, 3), (2, 2), (1, 1), (1, 0, 2, 1))),
    "dilations": ((1, 2, 8, 9), Window((2, 3), (1, 2), (3, 2), (0, 0, 0, 0))),
    "ceil": ((1, 2, 7, 6), Window((2, 3), (2, 2), (1, 1), (0, 0, 0, 0), ceil=True)),
    "floor": ((1, 1, 7, 6), Window((2, 3), (2, 2), (1, 1), (0, 0, 0, 0))),
    "vector": ((2, 2, 9), Window((4,), (2,), (1,), (1, 2))),
    "volume": ((1, 2, 4, 5, 3), Window((2, 2, 2), (1, 2, 1), (1, 1, 1), (0, 1, 0, 0, 0, 1))),
}


def _pools(ask: Ask) -> Iterator[tuple[str, Shape, Window]]:
    for slug, (shape, window) in POOLS.items():
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
                [pooled(ask.name, widen(x), window, extra)],
                attributes={**window_attributes(window), **extra},
                tolerance=_sum_tolerance(
                    ask.name, ask.element, int(np.prod(window.kernel)), extra.get("p", 2)
                ),
                oracle="none" if faulty else "widened",
                reason="onnx 1.23.2's evaluator scales a norm over a window that is cut off",
            )


def pooled(name: str, x: Array, window: Window, extra: Mapping[str, int]) -> Array:
    spatial = x.shape[2:]
    result = np.zeros((*x.shape[:2], *window.extents(spatial)))
    for at in np.ndindex(*result.shape[2:]):
        places = [p for _, p in window.reads(at, spatial)]
        values = np.stack([x[everywhere(p)] for p in places], axis=-1)
        if name == "LpPool":
            order = extra.get("p", 2)
            value = (np.abs(values) ** order).sum(axis=-1) ** (1 / order)
        else:
            whole = window.padded_size(at, spatial)
            value = values.sum(axis=-1) / (whole if extra else len(places))
        result[everywhere(at)] = value
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
            result, index = max_pooled(widen(x), window, order)
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


def max_pooled(x: Array, window: Window, order: int | None) -> tuple[Array, Array]:
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


def _sum_tolerance(name: str, element: ElementType, terms: int, order: int) -> Tolerance:
    """A mean, sum of absolute values or root of a sum of squares of numbers up to three."""
    if order > 2:  # powers, and a root of that order
        return composed(element, magnitude=3.0)
    magnitude = 3.0 if "Average" in name else 3.0 * terms
    return accumulated(element, terms=terms + 1, magnitude=magnitude, steps=2.0)


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
            wide, norm = widen(x), ""
            axes = tuple(range(2, len(shape)))
            if ask.name == "GlobalAveragePool":
                expected = wide.mean(axis=axes, keepdims=True)
            elif ask.name == "GlobalMaxPool":
                expected = wide.max(axis=axes, keepdims=True)
            else:
                p = order or 2
                norm = f"a = Constant <value_ints = {list(axes)}> () y0 = ReduceL{p}(x0, a)"
                expected = (np.abs(wide) ** p).sum(axis=axes, keepdims=True) ** (1 / p)
            exact = ask.name == "GlobalMaxPool"
            yield ask.draft(
                name,
                [x],
                [expected],
                attributes={} if order is None else {"p": order},
                tolerance=EXACT
                if exact
                else _sum_tolerance(ask.name, ask.element, wide[0, 0].size, order or 2),
                oracle="none" if exact and slug != "image" else "widened",
                composition=norm if ask.name == "GlobalLpPool" else "",
                reason="onnx 1.23.2's evaluator pools the last two dimensions, however many",
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
        window = Window(kernel, strides, (1, 1), (*before, *after))
        draw = ask.draw(slug)
        x = draw.tensor(ask.element, (1, 2, *spatial), -2, 2)
        inputs = [x]
        tolerance = composed(ask.element, magnitude=3.0)
        if ask.name == "Conv":
            inputs.append(draw.tensor(ask.element, (3, 2, *kernel), -2, 2))
            row = Conv(x.shape, (3, 2, *kernel), window)
            result = convolved(widen(x), widen(inputs[1]), row)
            tolerance = accumulated(ask.element, terms=13, magnitude=48.0)
        elif ask.name == "MaxPool":
            result, tolerance = max_pooled(widen(x), window, None)[0], EXACT
        else:
            result = pooled(ask.name, widen(x), window, {})
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
