"""Timing candidates in blocks, until one is ahead by more than the noise."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping

from hal.timing import CALLS, DISCARDED, PAUSE, ROUNDS, run_blocks

__all__ = ["NOISE", "Race"]

NOISE = 1.12
"""The worst ratio between identical sessions, timed in blocks: nothing below it is a finding."""
_MOST = 7
"""Rounds after which more would tell nothing new."""


class Race:
    """`candidates` has for each a function that runs one block, and the time of a single run; `end`
    is when the budget is spent, by time.monotonic()."""

    def __init__(
        self, candidates: Mapping[str, tuple[Callable[[], float], float]], end: float
    ) -> None:
        self._candidates = candidates
        self._end = end
        self._blocks: dict[str, list[float]] = {name: [] for name in candidates}

    def blocks(self, name: str) -> tuple[float, ...]:
        """The medians of a candidate's blocks so far."""
        return tuple(self._blocks[name])

    def run(self, *, keep_all: bool = False) -> bool:
        """Round after round; returns whether the best is ahead by more than the noise (alone, it
        is). `keep_all` gives every candidate the same rounds. Without time for a round of them all
        it ends early."""
        left = list(self._candidates)
        for done in range(_MOST):
            if done >= ROUNDS:
                if not keep_all:
                    left = self._close(left)
                if len(left) < 2 or (keep_all and done == ROUNDS):
                    break
            if time.monotonic() + self._needed(left) > self._end and (done or len(left) > 1):
                break
            found = run_blocks({n: self._candidates[n][0] for n in left}, rounds=1, seed=done)
            for name, timing in found.items():
                self._blocks[name] += timing.blocks
        return len(self._close([n for n in self._candidates if self._blocks[n]])) == 1

    def _close(self, names: list[str]) -> list[str]:
        """Those that may still be the best: none with an infinite block, which is a failure's."""
        names = [n for n in names if all(map(math.isfinite, self._blocks[n]))]
        if not names:
            return []
        medians = {n: statistics.median(self._blocks[n]) for n in names}
        best = min(names, key=lambda n: medians[n])
        return [
            n
            for n in names
            if n == best
            or medians[n] < NOISE * medians[best]
            or min(self._blocks[n]) < max(self._blocks[best])
        ]

    def _needed(self, names: list[str]) -> float:
        return sum(PAUSE + (CALLS + DISCARDED) * self._candidates[n][1] for n in names)
