"""Operators that move values keep every bit of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from hal import ElementType
from hal_conformance.contract.draft import Ask, Draft, generates
from hal_conformance.contract.draw import edges, has_infinity
from hal_conformance.contract.families.movement import int64s
from hal_conformance.contract.numbers import is_float, narrow, widen

__all__ = ["has_nan"]


@generates("Transpose", "Reshape", "Concat", "Slice", "Gather", "Expand", "Tile", "Pad")
def bit_patterns(ask: Ask) -> Iterator[Draft]:
    """Values that only move keep their bits: extremes, infinities, NaN, -0, subnormals."""
    if not ask.first or ask.element is ElementType.STRING:
        return
    element = ask.element
    values = edges(element, nan=is_float(element) and has_nan(element))
    x = narrow(values, element)
    size = len(values)
    inputs: list[Any] = [x]
    expected = widen(x)
    attributes: dict[str, Any] = {}
    if ask.name == "Transpose":
        x = narrow(values[None, :], element)
        inputs, expected = [x], widen(x).T
    elif ask.name == "Concat":
        inputs, expected, attributes = [x, x], np.concatenate([widen(x)] * 2), {"axis": 0}
    elif ask.name == "Reshape":
        inputs, expected = [x, int64s([1, size])], widen(x)[None]
    elif ask.name == "Slice":
        inputs += [int64s([0]), int64s([size]), int64s([0])]
    elif ask.name == "Gather":
        inputs.append(int64s(list(range(size))))
    elif ask.name == "Expand":
        inputs.append(int64s([2, size]))
        expected = np.stack([widen(x)] * 2)
    elif ask.name == "Tile":
        inputs.append(int64s([2]))
        expected = np.tile(widen(x), 2)
    else:
        inputs.append(int64s([0, 2]))
        expected, attributes = np.pad(widen(x), (0, 2), mode="edge"), {"mode": "edge"}
    constants = frozenset(range(1, len(inputs))) if ask.name != "Concat" else frozenset()
    yield ask.draft("bits", inputs, [expected], attributes=attributes, constants=constants)


def has_nan(element: ElementType) -> bool:
    """Whether a type holds NaN."""
    return has_infinity(element) or element.name.startswith("FLOAT8")
