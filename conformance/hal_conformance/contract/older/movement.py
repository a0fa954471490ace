"""Cases of older versions of what moves tensors about: shapes, axes, parts, copies."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hal import ElementType
from hal_conformance.contract.draft import Ask, Draft
from hal_conformance.contract.families.movement import int64s
from hal_conformance.contract.numbers import narrow, widen
from hal_conformance.contract.older.drafts import from_one
from hal_conformance.contract.older.table import older

__all__: list[str] = []


@older("pads and value are attributes", Pad=(2,))
def pad(ask: Ask) -> Iterator[Draft]:
    """A value, the edge, and a negative pad."""
    pads = [0, 1, 2, 0]
    yield from_one(
        ask,
        "value",
        (2, 3),
        lambda x: np.pad(x, ((0, 2), (1, 0)), constant_values=1.5),
        {"pads": pads, "value": 1.5},
    )
    yield from_one(
        ask,
        "edge",
        (2, 3),
        lambda x: np.pad(x, ((0, 2), (1, 0)), mode="edge"),
        {"pads": pads, "mode": "edge"},
    )
    yield from_one(
        ask,
        "negative",
        (3, 4),
        lambda x: x[1:, :-1],
        {"pads": [-1, 0, 0, -1]},
        composition="a = Constant <value_ints = [1, 0]> () b = Constant <value_ints = [3, 3]> ()"
        " y0 = Slice(x0, a, b)",
    )


@older("starts, ends and axes are attributes, and there are no steps", Slice=(1,))
def sliced(ask: Ask) -> Iterator[Draft]:
    """Axes named, and left out; ends beyond the extent and negative."""
    yield from_one(
        ask,
        "axes",
        (4, 5),
        lambda x: x[:, 1:4],
        {"axes": [1], "starts": [1], "ends": [4]},
    )
    yield from_one(ask, "ends", (4, 5), lambda x: x[1:, :-2], {"starts": [1, 0], "ends": [99, -2]})


@older("k is an attribute, and the largest are taken", TopK=(1,))
@older("the largest are taken, sorted", TopK=(10,))
def top_k(ask: Ask) -> Iterator[Draft]:
    """Of values that all differ, along both axes."""
    for slug, axis in (("last", -1), ("first", 0)):
        values = np.array(ask.draw(slug).order(20)).reshape(4, 5) - 10.0
        order = np.argsort(-values, axis=axis)
        order = order[:, :3] if axis else order[:3]
        x = narrow(values, ask.element)
        old = ask.operator.since_version == 1
        attributes = {"axis": axis, **({"k": 3} if old else {})}
        yield ask.draft(
            slug,
            [x] if old else [x, int64s([3])],
            [np.take_along_axis(values, order, axis=axis), order],
            outputs=[ask.type, "tensor(int64)"],
            attributes=attributes,
        )


@older("the sizes are an attribute", Split=(2, 11))
@older("the sizes are an input, and num_outputs does not exist", Split=(13,))
def split(ask: Ask) -> Iterator[Draft]:
    """Into sizes that differ, and into equal parts."""
    x = ask.draw("sizes").tensor(ask.element, (2, 6))
    attribute = ask.operator.since_version < 13
    parts = np.split(widen(x), [1, 3], axis=1)
    yield ask.draft(
        "sizes",
        [x] if attribute else [x, int64s([1, 2, 3])],
        parts,
        outputs=[ask.type] * 3,
        attributes={"axis": 1, **({"split": [1, 2, 3]} if attribute else {})},
    )
    yield ask.draft(
        "equal",
        [x],
        np.split(widen(x), 2, axis=1),
        outputs=[ask.type] * 2,
        attributes={"axis": 1},
    )


@older("the shape is an attribute", Reshape=(1,))
def reshape(ask: Ask) -> Iterator[Draft]:
    """With a dimension that is kept and one that follows."""
    yield from_one(
        ask,
        "shape",
        (2, 3, 4),
        lambda x: x.reshape(2, 12),
        {"shape": [0, -1]},
        composition="s = Constant <value_ints = [0, -1]> () y0 = Reshape(x0, s)",
    )


@older("axis is 1 by default", Concat=(1,))
def concat(ask: Ask) -> Iterator[Draft]:
    """Without the attribute."""
    draw = ask.draw("default")
    parts = [draw.tensor(ask.element, (2, n, 2)) for n in (1, 2)]
    yield ask.draft(
        "default",
        parts,
        [np.concatenate([widen(p) for p in parts], axis=1)],
        composition="y0 = Concat <axis = 1> (x0, x1)",
    )


@older("the operator's older name", Scatter=(9,))
def scatter(ask: Ask) -> Iterator[Draft]:
    """Along an axis."""
    draw = ask.draw("axis")
    x, updates = draw.tensor(ask.element, (3, 4)), draw.tensor(ask.element, (2, 4))
    places = np.array([[0, 2, 1, 0], [2, 0, 0, 1]])
    result = widen(x)
    np.put_along_axis(result, places, widen(updates), axis=0)
    yield ask.draft(
        "axis",
        [x, narrow(places, ElementType.INT64), updates],
        [result],
        attributes={"axis": 0},
        composition="y0 = ScatterElements <axis = 0> (x0, x1, x2)",
    )
