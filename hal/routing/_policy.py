"""Policies: what is best, and what is not allowed at all."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from hal.errors import BrokenError, UsageError, did_you_mean
from hal.policy import PolicySpec

if TYPE_CHECKING:
    from hal.routing._report import Row

__all__ = ["GOALS", "Limit", "Policy"]

GOALS: Mapping[str, str] = {
    "latency": "the median time of a run",
    "p99": "the time that 99 of 100 runs stay below",
    "throughput": "items a second, over the batch sizes and threads that give most",
    "memory": "what the process grows by",
}
_NEXT = "one goal, with limits such as memory<2GiB"
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
    """A goal and its limits, written "latency" or "throughput,memory<2GiB,p99<5ms"; `spec` is that
    of a plugin's goal."""

    goal: str = "latency"
    limits: tuple[Limit, ...] = ()
    spec: PolicySpec | None = None

    @classmethod
    def parse(cls, text: str, more: Callable[[], Mapping[str, PolicySpec]] = lambda: {}) -> Policy:
        """`more` gives the goals of plugins; it is asked for a goal that is none of HAL's own.
        Raises UsageError for a goal, a quantity or a unit that does not exist."""
        goal, spec, limits = "", None, []
        for word in filter(None, (part.strip() for part in text.split(","))):
            if "<" in word:
                limits.append(_limit(word))
            elif goal:
                raise UsageError(f"two goals: {goal} and {word}", next_step=_NEXT)
            elif word in GOALS:
                goal = word
            else:
                specs = more()
                known = [*GOALS, *specs]
                if word not in specs:
                    raise UsageError(
                        f"no policy {word!r}.{did_you_mean(word, known)}",
                        next_step=f"one of {', '.join(known)}; {_NEXT}",
                    )
                goal, spec = word, specs[word]
        return cls(goal or "latency", tuple(limits), spec)

    def __str__(self) -> str:
        return ",".join((self.goal, *(limit.text for limit in self.limits)))

    @property
    def timed(self) -> bool:
        """Whether the time of a run decides, so that the slow need no exact figure."""
        return self.goal in ("latency", "p99")

    def score(self, row: Row) -> float:
        """What is to be small; infinite for a row that was not measured."""
        if self.spec is None:
            return _SCORES[self.goal](row)
        return _of_plugin(self.spec, row) if row.blocks else math.inf

    def broken(self, row: Row) -> str:
        """Which limit a measured row breaks, in words; "" for none."""
        for limit in self.limits:
            if _QUANTITIES[limit.quantity](row) > limit.bound:
                return f"over the limit {limit.text}"
        return ""


def _of_plugin(spec: PolicySpec, row: Row) -> float:
    try:
        score = float(spec.score(row))
    except Exception as error:
        raise BrokenError(
            f"policy {spec.name}: {type(error).__name__}: {error}", next_step="hal plugins"
        ) from error
    if not 0 < score < math.inf:
        raise BrokenError(
            f"policy {spec.name} gives {row.candidate.label} a score of {score}, which is no "
            "finite number above 0",
            next_step="hal plugins",
        )
    return score


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
