"""Operators that write into a copy of their data, by index."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from hal import ElementType, Tensor
from hal_conformance.contract.draft import Ask, Draft, generates
from hal_conformance.contract.families.indexing import drawn_indices, index_types
from hal_conformance.contract.families.movement import int64s
from hal_conformance.contract.numbers import Array, is_float, is_integer, narrow, widen
from hal_conformance.contract.tolerance import EXACT, Tolerance, elementary

_REDUCTIONS: dict[str, Any] = {
    "add": np.add,
    "mul": np.multiply,
    "max": np.maximum,
    "min": np.minimum,
}


def _reductions(ask: Ask) -> list[str]:
    numeric = is_float(ask.element) or is_integer(ask.element)
    return ["none", *(_REDUCTIONS if numeric else ())]


@generates("ScatterElements")
def scatter_elements(ask: Ask) -> Iterator[Draft]:
    """Each reduction with repeated indices; without one, every index once; both index types."""
    types = index_types(ask)
    if types is None:
        return
    element, kind = types
    shape, extents = (4, 5), (3, 4)
    for axis in (0, 1, -1):
        for reduction in _reductions(ask) if ask.first else ["none", "add"]:
            if axis != -1 and reduction != "none" and not ask.full:
                continue
            slug = f"{reduction}-axis{axis}"
            draw = ask.draw(slug)
            x, updates = draw.tensor(element, shape, 1, 3), draw.tensor(element, extents, 1, 3)
            if reduction == "none":
                extent = shape[axis]
                count = extents[axis]
                lines = [draw.order(extent)[:count] for _ in range(extents[1 - axis % 2])]
                indices = np.array(lines).T if axis == 0 else np.array(lines)
                flip = draw.integers(indices.shape, 0, 1).astype(bool)
                indices = np.where(flip, indices - extent, indices)
            else:
                indices = drawn_indices(ask, slug, extents, shape[axis])
            expected = _scattered(widen(x), indices, widen(updates), axis, reduction)
            attributes: dict[str, Any] = {"axis": axis}
            if reduction != "none":
                attributes["reduction"] = reduction
            yield ask.draft(
                slug,
                [x, narrow(indices, kind), updates],
                [expected],
                outputs=(f"tensor({element.onnx_name})",),
                attributes=attributes,
                tolerance=_landed(element, reduction),
            )


def _landed(element: ElementType, reduction: str) -> Tolerance:
    """Without a reduction values are only moved."""
    return EXACT if reduction == "none" else elementary(element, absolute=32.0)


def _scattered(x: Array, indices: Array, updates: Array, axis: int, reduction: str) -> Array:
    result = x.copy()
    for at in np.ndindex(indices.shape):
        place = list(at)
        place[axis] = indices[at]
        combine = _REDUCTIONS.get(reduction)
        old = result[tuple(place)]
        result[tuple(place)] = updates[at] if combine is None else combine(old, updates[at])
    return np.asarray(result)


@generates("ScatterND")
def scatter_nd(ask: Ask) -> Iterator[Draft]:
    """Elements and slices, each reduction with repeated indices, negative indices."""
    for reduction in _reductions(ask):
        for slug, shape, columns in (("elements", (3, 4), 2), ("slices", (4, 2, 3), 1)):
            name = f"{slug}-{reduction}"
            draw = ask.draw(name)
            x = draw.tensor(ask.element, shape, 1, 3)
            count = int(np.prod(shape[:columns]))
            picks = draw.order(count)[:3] if reduction == "none" else [1, 0, 1]
            indices = np.stack(np.unravel_index(picks, shape[:columns]), axis=-1)
            indices[0] -= np.array(shape[:columns])
            updates = draw.tensor(ask.element, (3, *shape[columns:]), 1, 3)
            result, wide = widen(x).copy(), widen(updates)
            for row, index in enumerate(indices):
                combine = _REDUCTIONS.get(reduction)
                old = result[tuple(index)]
                result[tuple(index)] = wide[row] if combine is None else combine(old, wide[row])
            yield ask.draft(
                name,
                [x, int64s(indices.tolist()), updates],
                [result],
                attributes={} if reduction == "none" else {"reduction": reduction},
                tolerance=_landed(ask.element, reduction),
            )


@generates("TensorScatter")
def tensor_scatter(ask: Ask) -> Iterator[Draft]:
    """Linear and circular, with and without indices, another axis."""
    for slug, axis, starts, mode in (
        ("linear", -2, [1, 3], "linear"),
        ("default", -2, None, "linear"),
        ("circular", -2, [4, 3], "circular"),
        ("axis1", 1, [0, 1], "linear"),
    ):
        draw = ask.draw(slug)
        shape = [2, 3, 5, 2]
        part = list(shape)
        part[axis] = 2
        x, update = draw.tensor(ask.element, shape), draw.tensor(ask.element, part)
        result, wide = widen(x).copy(), widen(update)
        for at in np.ndindex(*part):
            place = list(at)
            first = starts[at[0]] if starts else 0
            place[axis] = (first + at[axis]) % shape[axis]
            result[tuple(place)] = wide[at]
        inputs: list[Tensor] = [x, update] + ([int64s(starts)] if starts else [])
        attributes = {"axis": axis, "mode": mode}
        yield ask.draft(slug, inputs, [result], attributes=attributes)
