"""Policies: what is best, and what is not allowed at all."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from hal.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from hal.routing._report import Row

__all__ = ["GOALS", "Limit", "Policy"]

GOALS: Mapping[str, str] = {
    "latency": "the median time of a run",
    "p99": "the time that 99 of 100 runs stay below",
    "throughput": "items a second, over the batch sizes and threads that give most",
    "memory": "what the process grows by",
}
_LIMIT = re.compile(r"(\w+)\s*<\s*([0-9.]+)\s*([A-Za-z]*)")
_UNITS = {
    "memory": {"": 1.0, "B": 1.0, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30,
               "KB": 1e3, "MB": 1e6, "GB": 1e9},
    "latency": {"s": 1.0, "ms": 1e-3, "us": 1e-6},
    "p99": {"s": 1.0, "ms": 1e-3, "us": 1e-6},
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Limit:
    """What a candidate must stay below: seconds of latency or p99, bytes of memory."""

    quantity: str
    bound: float
    text: str


@dataclasses.dataclass(frozen=True)
class Policy:
    """A goal and its limits, written "latency" or "throughput,memory<2GiB,p99<5ms"."""

    goal: str = "latency"
    limits: tuple[Limit, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Policy:
        """Raises UsageError for a goal, a quantity or a unit that does not exist."""
        goal, limits = "", []
        for word in filter(None, (part.strip() for part in text.split(","))):
            if "<" in word:
                limits.append(_limit(word))
            elif word not in GOALS or goal:
                hint = did_you_mean(word, GOALS)
                raise UsageError(
                    f"two goals: {goal} and {word}" if goal else f"no policy {word!r}.{hint}",
                    next_step=f"one of {', '.join(GOALS)}, with limits such as memory<2GiB",
                )
            else:
                goal = word
        return cls(goal or "latency", tuple(limits))

    def __str__(self) -> str:
        return ",".join((self.goal, *(limit.text for limit in self.limits)))

    def score(self, row: Row) -> float:
        """What is to be small; infinite for a row that was not measured."""
        return _SCORES[self.goal](row)

    def broken(self, row: Row) -> str:
        """Which limit a measured row breaks, in words; "" for none."""
        for limit in self.limits:
            if _QUANTITIES[limit.quantity](row) > limit.bound:
                return f"over the limit {limit.text}"
        return ""


def _limit(word: str) -> Limit:
    found = _LIMIT.fullmatch(word)
    units = _UNITS.get(found[1]) if found else None
    if found is None or units is None or found[3] not in units:
        raise UsageError(
            f"a limit is written memory<2GiB, latency<5ms or p99<5ms, got {word!r}",
            next_step="hal route --help",
        )
    try:
        bound = float(found[2]) * units[found[3]]
    except ValueError:
        raise UsageError(f"{found[2]!r} in {word!r} is no number") from None
    return Limit(found[1], bound, "".join(word.split()))


def _median(row: Row) -> float:
    return row.median if row.blocks else math.inf


def _p99(row: Row) -> float:
    return row.p99 if row.blocks else math.inf


def _pace(row: Row) -> float:
    """Seconds a run at the best number of streams."""
    return 1 / row.throughput if row.throughput else _median(row)


def _memory(row: Row) -> float:
    return float(row.memory) if row.blocks else math.inf


_SCORES: Mapping[str, Callable[[Row], float]] = {
    "latency": _median,
    "p99": _p99,
    "throughput": _pace,
    "memory": _memory,
}
_QUANTITIES: Mapping[str, Callable[[Row], float]] = {
    "latency": _median,
    "p99": _p99,
    "memory": _memory,
}
