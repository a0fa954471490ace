"""What `--speed` measured then and now: ratios of times, and which of them are findings."""

from __future__ import annotations

import dataclasses
import math
import statistics

from hal_conformance.report import SpeedReport
from hal_conformance.speed_table import speed_rows

__all__ = ["MeasuredChange", "SpeedComparison", "compare_speed"]


@dataclasses.dataclass(frozen=True)
class MeasuredChange:
    """An operator at one size: `ratio` is the new time over the old, `spread` the larger of the two
    that the reports state."""

    operator: str
    shape: str
    ratio: float
    spread: float


@dataclasses.dataclass(frozen=True)
class SpeedComparison:
    """Two speed sections: `compared` sizes have a time in both, `mean` is the geometric mean of
    their ratios. `slower` and `faster` have a ratio beyond their spread and beyond the noise, the
    largest change first."""

    compared: int
    mean: float
    slower: tuple[MeasuredChange, ...]
    faster: tuple[MeasuredChange, ...]


def compare_speed(
    old: SpeedReport | None, new: SpeedReport | None, noise: float
) -> SpeedComparison | None:
    """None where a report has no times, or those of an emulator, which compare with none."""
    if old is None or new is None or old.emulated or new.emulated:
        return None
    changes = []
    for row in speed_rows((old, new)):
        was, now = (cell.entry if cell else None for cell in row.cells)
        if was is None or now is None or not was.seconds or not now.seconds:
            continue
        spread = max(was.spread or 1.0, now.spread or 1.0)
        changes.append(MeasuredChange(row.operator, row.shape, now.seconds / was.seconds, spread))
    if not changes:
        return None
    changes.sort(key=lambda c: -c.ratio)
    return SpeedComparison(
        compared=len(changes),
        mean=math.exp(statistics.fmean(math.log(c.ratio) for c in changes)),
        slower=tuple(c for c in changes if c.ratio > max(noise, c.spread)),
        faster=tuple(c for c in reversed(changes) if c.ratio < 1 / max(noise, c.spread)),
    )
