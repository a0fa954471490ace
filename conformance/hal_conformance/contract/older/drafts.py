"""Drafts that the generators of older versions share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hal import Tensor
from hal_conformance.contract.draft import Ask, Draft
from hal_conformance.contract.numbers import Array, widen
from hal_conformance.contract.tolerance import EXACT, Tolerance

__all__ = ["from_one"]


def from_one(
    ask: Ask,
    slug: str,
    shape: tuple[int, ...],
    function: Callable[[Array], Array],
    attributes: Mapping[str, Any],
    *inputs: Tensor,
    tolerance: Tolerance = EXACT,
    composition: str = "",
) -> Draft:
    """A function of a tensor of `shape`, whose elements lie within -3 and 3."""
    x = ask.draw(slug).tensor(ask.element, shape, -3, 3)
    return ask.draft(
        slug,
        [x, *inputs],
        [function(widen(x))],
        attributes=dict(attributes),
        tolerance=tolerance,
        composition=composition,
    )
