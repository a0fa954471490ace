"""Operators that move values: shapes, axes, parts, copies, and picking and placing by index."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hal import ElementType
from hal_conformance.contract.draft import Ask, Draft
from hal_conformance.contract.families.movement import int64s
from hal_conformance.contract.numbers import narrow, widen
from hal_conformance.deep.choices import Choices
from hal_conformance.deep.makers import makes


def _over_data(ask: Ask) -> bool:
    return ask.constraint == "T"


def _with_shape(ask: Ask, choices: Choices, inputs: list[Any], expected: Any, **more: Any) -> Draft:
    """With what follows the first input as constants, or computed."""
    computed = choices.flag()
    constants = frozenset() if computed else frozenset(range(1, len(inputs)))
    return ask.draft(
        "deep", inputs, [expected], constants=constants, dynamic_outputs=computed, **more
    )


@makes("Reshape")
def reshape(ask: Ask, choices: Choices) -> Draft:
    """Any factors; an extent inferred; extents copied."""
    left = choices.extents(choices.number(0, 4), empty=False, most=512)
    x = ask.draw(choices.seed()).tensor(ask.element, left)
    target: list[int] = []
    rest = x.size
    for _ in range(choices.number(0, 4)):
        divisors = [d for d in range(1, rest + 1) if rest % d == 0]
        target.append(choices.one_of(divisors))
        rest //= target[-1]
    target += [rest] if rest > 1 else []
    shown = list(target)
    if shown and choices.flag():
        shown[choices.number(0, len(shown) - 1)] = -1
    for i, extent in enumerate(target[: len(left)]):
        if extent == left[i] and shown[i] > 0 and choices.flag():
            shown[i] = 0
    return _with_shape(ask, choices, [x, int64s(shown)], widen(x).reshape(target))


@makes("Flatten")
def flatten(ask: Ask, choices: Choices) -> Draft:
    """Every axis from both ends."""
    x = ask.draw(choices.seed()).tensor(ask.element, choices.shape(1, 5))
    axis = choices.number(0, len(x.shape)) - (len(x.shape) if choices.flag() else 0)
    at = axis % len(x.shape) if axis < 0 else axis
    sides = math.prod(x.shape[:at]), math.prod(x.shape[at:])
    return ask.draft("deep", [x], [widen(x).reshape(sides)], attributes={"axis": axis})


@makes("Transpose")
def transpose(ask: Ask, choices: Choices) -> Draft:
    """Every order of the axes."""
    x = ask.draw(choices.seed()).tensor(ask.element, choices.shape(0, 5))
    perm = choices.order(len(x.shape)) if x.shape else None
    attributes = {"perm": perm} if perm and choices.flag() else {}
    order = attributes.get("perm")
    return ask.draft("deep", [x], [np.transpose(widen(x), order)], attributes=attributes)


@makes("Unsqueeze", takes=_over_data)
def unsqueeze(ask: Ask, choices: Choices) -> Draft:
    """Axes of the result, from both ends."""
    x = ask.draw(choices.seed()).tensor(ask.element, choices.shape(0, 3))
    axes = [choices.axis(len(x.shape) + 1)]
    return _with_shape(ask, choices, [x, int64s(axes)], np.expand_dims(widen(x), tuple(axes)))


@makes("Concat")
def concat(ask: Ask, choices: Choices) -> Draft:
    """One input to four, empty ones among them."""
    shape = choices.shape(1, 4, most=512)
    axis, draw = choices.axis(len(shape)), ask.draw(choices.seed())
    xs = []
    for _ in range(choices.number(1, 4)):
        part = list(shape)
        part[axis] = choices.one_of([1, 2, 0, 5])
        xs.append(draw.tensor(ask.element, part))
    expected = np.concatenate([widen(x) for x in xs], axis=axis)
    return ask.draft("deep", xs, [expected], attributes={"axis": axis})


@makes("Split", takes=_over_data)
def split(ask: Ask, choices: Choices) -> Draft:
    """Stated parts, empty ones among them."""
    shape = list(choices.shape(1, 4, most=256))
    axis = choices.axis(len(shape))
    parts = [choices.one_of([1, 2, 0, 5]) for _ in range(choices.number(1, 4))]
    shape[axis] = sum(parts)
    x = ask.draw(choices.seed()).tensor(ask.element, shape)
    pieces = np.split(widen(x), np.cumsum(parts)[:-1].tolist(), axis=axis)
    return ask.draft(
        "deep",
        [x, int64s(parts)],
        pieces,
        outputs=(ask.type,) * len(pieces),
        attributes={"axis": axis},
        constants=frozenset({1}),
    )


@makes("Slice", takes=_over_data)
def slice_(ask: Ask, choices: Choices) -> Draft:
    """Steps both ways, bounds from both ends and outside, some axes."""
    shape = choices.shape(1, 4, empty=False)
    x = ask.draw(choices.seed()).tensor(ask.element, shape)
    axes = choices.axes(len(shape), 1)
    starts: list[int] = []
    ends: list[int] = []
    steps: list[int] = []
    index = [slice(None)] * len(shape)
    for axis in axes:
        extent = shape[axis]
        start, end = (
            choices.number(-extent - 1, extent + 1),
            choices.number(-extent - 1, extent + 1),
        )
        step = choices.one_of([1, 2, -1, 3, -2])
        stop = None if step < 0 and end < -extent else end
        index[axis] = slice(start, stop, step)
        for row, value in ((starts, start), (ends, end), (steps, step)):
            row.append(value)
    inputs = [x, *(int64s(v) for v in (starts, ends, axes, steps))]
    return _with_shape(ask, choices, inputs, widen(x)[tuple(index)])


@makes("Pad", takes=lambda ask: _over_data(ask) and ask.element is not ElementType.STRING)
def pad(ask: Ask, choices: Choices) -> Draft:
    """Every mode, unequal pads, also negative ones, with a value of the type."""
    mode = choices.one_of(["constant", "edge", "reflect", "wrap"])
    shape = tuple(choices.one_of([2, 3, 4, 7]) for _ in range(choices.number(1, 3)))
    least = -1 if mode == "constant" else 0
    width = [(choices.number(least, s - 1), choices.number(least, s - 1)) for s in shape]
    draw = ask.draw(choices.seed())
    x, value = draw.tensor(ask.element, shape, 0.5, 4), draw.tensor(ask.element, (), 1, 2)
    index = tuple(slice(max(0, -a), s + min(0, b)) for (a, b), s in zip(width, shape, strict=True))
    grown = [(max(0, a), max(0, b)) for a, b in width]
    settings: dict[str, Any] = {}
    if mode == "constant":
        settings["constant_values"] = widen(value).item()
    expected = np.pad(widen(x)[index], grown, mode=mode, **settings)  # type: ignore[call-overload]
    pads = int64s([a for a, _ in width] + [b for _, b in width])
    inputs = [x, pads, value] if mode == "constant" else [x, pads]
    return _with_shape(ask, choices, inputs, expected, attributes={"mode": mode})


@makes("Tile", takes=_over_data)
def tile(ask: Ask, choices: Choices) -> Draft:
    """Repeats of one, several and none."""
    x = ask.draw(choices.seed()).tensor(ask.element, choices.shape(1, 4, most=256))
    repeats = [choices.one_of([1, 2, 3, 0]) for _ in x.shape]
    return _with_shape(ask, choices, [x, int64s(repeats)], np.tile(widen(x), repeats))


@makes("Expand")
def expand(ask: Ask, choices: Choices) -> Draft:
    """Both ways."""
    left, right = choices.broadcast()
    x = ask.draw(choices.seed()).tensor(ask.element, left)
    expected = np.broadcast_to(widen(x), np.broadcast_shapes(left, right))
    return _with_shape(ask, choices, [x, int64s(list(right))], expected)


@makes("Gather")
def gather(ask: Ask, choices: Choices) -> Draft:
    """Every axis, indices of rank 0 to 2, from both ends; both index types."""
    shape, seed = choices.shape(1, 4, empty=False, most=512), choices.seed()
    axis, extents = choices.axis(len(shape)), choices.shape(0, 2, most=16)
    kind = choices.one_of([ElementType.INT64, ElementType.INT32])
    x = ask.draw(seed).tensor(ask.element, shape)
    indices = ask.draw(f"{seed}i").integers(extents, -shape[axis], shape[axis] - 1)
    return ask.draft(
        "deep",
        [x, narrow(indices, kind)],
        [np.take(widen(x), indices, axis=axis)],
        attributes={"axis": axis},
    )


@makes("GatherElements")
def gather_elements(ask: Ask, choices: Choices) -> Draft:
    """Every axis, fewer and more indices than data."""
    shape, seed = choices.shape(1, 4, empty=False, most=512), choices.seed()
    axis = choices.axis(len(shape))
    extents = list(shape)
    extents[axis] = choices.one_of([1, 2, 3, 5])
    x = ask.draw(seed).tensor(ask.element, shape)
    indices = ask.draw(f"{seed}i").integers(extents, -shape[axis], shape[axis] - 1)
    index: list[Any] = list(np.indices(extents))
    index[axis] = indices
    return ask.draft(
        "deep", [x, int64s(indices.tolist())], [widen(x)[tuple(index)]], attributes={"axis": axis}
    )


@makes("GatherND", takes=_over_data)
def gather_nd(ask: Ask, choices: Choices) -> Draft:
    """Whole slices and single elements."""
    shape, seed = choices.shape(1, 4, empty=False, most=512), choices.seed()
    depth, count = choices.number(1, len(shape)), choices.number(1, 4)
    x, draw = ask.draw(seed).tensor(ask.element, shape), ask.draw(f"{seed}i")
    columns = [draw.integers((count,), -shape[i], shape[i] - 1) for i in range(depth)]
    expected = widen(x)[tuple(columns)]
    return ask.draft("deep", [x, int64s(np.stack(columns, -1).tolist())], [expected])


@makes("ScatterND", takes=_over_data)
def scatter_nd(ask: Ask, choices: Choices) -> Draft:
    """Every place at most once."""
    shape, seed = choices.shape(1, 4, empty=False, most=512), choices.seed()
    depth = choices.number(1, len(shape))
    places, draw = math.prod(shape[:depth]), ask.draw(seed)
    picks = draw.order(places)[: choices.number(1, 4)]
    x = draw.tensor(ask.element, shape)
    updates = draw.tensor(ask.element, (len(picks), *shape[depth:]))
    indices = np.unravel_index(np.array(picks), shape[:depth])
    result = widen(x).copy()
    result[indices] = widen(updates)
    return ask.draft("deep", [x, int64s(np.stack(indices, -1).tolist()), updates], [result])


@makes("Trilu", takes=_over_data)
def trilu(ask: Ask, choices: Choices) -> Draft:
    """Both triangles, every diagonal."""
    x = ask.draw(choices.seed()).tensor(ask.element, choices.shape(2, 4, empty=False), 1, 4)
    upper, k = choices.number(0, 1), choices.number(-3, 3)
    expected = (np.triu if upper else np.tril)(widen(x), k)
    return ask.draft("deep", [x, int64s(k)], [expected], attributes={"upper": upper})
