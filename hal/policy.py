"""Policies of plugins: another idea of which candidate is the best for a model."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hal.routing import Row

__all__ = ["PolicySpec"]


@dataclasses.dataclass(frozen=True)
class PolicySpec:
    """What a plugin's `hal_policies` hook returns: a goal of `hal route --policy`.

    `score` is given what was measured of a candidate, and returns what is to be small, a finite
    number above 0. Every candidate that was measured has a median (`Row.median`), the time that it
    took to compile (`Row.compiled`), its memory and its errors.
    """

    name: str
    score: Callable[[Row], float]
    summary: str = ""
