"""The speed sections of several reports side by side: a row an operator and size."""

from __future__ import annotations

import collections
import dataclasses
import math
import statistics
from collections.abc import Sequence

from hal_conformance._speed_text import amount, percent, ratio, seconds
from hal_conformance.report import SpeedEntry, SpeedReport

__all__ = ["SpeedCell", "SpeedRow", "fraction_of_ceiling", "speed_rows", "times_reference"]


@dataclasses.dataclass(frozen=True)
class SpeedCell:
    """What one device reached, as text, with the share as a number for a bar. `bound` is the
    ceiling that is nearer."""

    entry: SpeedEntry
    share: float | None
    bound: str
    ratio: float | None

    @property
    def time(self) -> str:
        return seconds(self.entry.seconds)

    @property
    def of_ceiling(self) -> str:
        return percent(self.share)

    @property
    def rate(self) -> str:
        """In the unit of the ceiling."""
        if self.bound == "matmul":
            return amount(self.entry.operation_rate, "FLOP/s")
        return amount(self.entry.byte_rate, "B/s")

    @property
    def times(self) -> str:
        return ratio(self.ratio)


@dataclasses.dataclass(frozen=True)
class SpeedRow:
    """One operator at one size; of each device a cell, None where it was not to be timed."""

    operator: str
    shape: str
    nodes: int
    typical: bool
    cells: tuple[SpeedCell | None, ...]


def speed_rows(sections: Sequence[SpeedReport | None]) -> tuple[SpeedRow, ...]:
    """The rows by operator, the size on which models spend most first."""
    found: dict[tuple[str, str, int], list[SpeedCell | None]] = {}
    for column, speed in enumerate(sections):
        seen: collections.Counter[tuple[str, str]] = collections.Counter()
        for entry in speed.entries if speed else ():
            # Two nodes may read the same and differ in their attributes.
            seen[entry.operator, entry.shape] += 1
            key = (entry.operator, entry.shape, seen[entry.operator, entry.shape])
            cells = found.setdefault(key, [None] * len(sections))
            cells[column] = _cell(speed, entry) if speed else None
    rows = []
    for (operator, shape, _), cells in found.items():
        entry = next(c.entry for c in cells if c)
        rows.append(SpeedRow(operator, shape, entry.nodes, entry.typical, tuple(cells)))
    return tuple(sorted(rows, key=lambda row: row.operator))


def fraction_of_ceiling(speed: SpeedReport) -> float | None:
    """The median share over what was timed."""
    shares = [s for e in speed.timed if (s := speed.share(e)) is not None]
    return statistics.median(shares) if shares else None


def times_reference(speed: SpeedReport) -> float | None:
    """The geometric mean of the ratios."""
    ratios = [r for e in speed.timed if (r := speed.ratio(e))]
    return math.exp(statistics.fmean(map(math.log, ratios))) if ratios else None


def _cell(speed: SpeedReport, entry: SpeedEntry) -> SpeedCell:
    of_matmul, of_copy = speed.shares(entry)
    bound = "matmul" if (of_matmul or 0) > (of_copy or 0) else "copy"
    return SpeedCell(entry, speed.share(entry), bound, speed.ratio(entry))
