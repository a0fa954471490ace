"""How HAL times: in blocks, so that engines called in turn do not disturb each other.

After a call, some runtimes keep their threads spinning and slow down whoever comes next. So each
candidate runs alone in a block that starts with an idle pause; the order of the blocks is drawn
anew in every round.
"""

from __future__ import annotations

import dataclasses
import functools
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence

__all__ = [
    "CALLS",
    "DISCARDED",
    "PAUSE",
    "ROUNDS",
    "Timing",
    "run_blocks",
    "settled",
    "time_blocks",
]

PAUSE = 0.1
"""Seconds of idling before a block."""
DISCARDED = 2
"""Calls at the start of a block that do not count: they warm caches and threads."""
CALLS = 5
"""The least number of timed calls in a block."""
ROUNDS = 3
"""The least number of blocks for each candidate."""
SETTLED = 0.03
"""The share by which a settled median moves with a block more, at most."""


@dataclasses.dataclass(frozen=True)
class Timing:
    """The time of one candidate. `blocks` holds the median of each block, in seconds, in the order
    of the rounds."""

    blocks: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median over the rounds, in seconds."""
        return statistics.median(self.blocks)

    @property
    def spread(self) -> float:
        """The slowest round over the fastest: 1 when all are equal."""
        return max(self.blocks) / min(self.blocks)


def time_blocks(
    candidates: Mapping[str, Callable[[], object]],
    *,
    rounds: int = ROUNDS,
    calls: int = CALLS,
    pause: float = PAUSE,
    seed: int = 0,
) -> dict[str, Timing]:
    """Time candidates side by side; returns their timings in the order given.

    Each of `rounds` rounds runs one block a candidate, in an order drawn with `seed`: `pause`
    seconds of idling, DISCARDED calls that do not count, then `calls` timed calls, of which the
    median is kept. Raises ValueError for fewer than ROUNDS rounds or CALLS calls, which tell
    nothing; what a candidate raises passes through.
    """
    if rounds < ROUNDS or calls < CALLS:
        raise ValueError(f"at least {ROUNDS} rounds of {CALLS} calls, got {rounds} of {calls}")
    blocks = {name: functools.partial(_block, c, calls) for name, c in candidates.items()}
    return run_blocks(blocks, rounds=rounds, pause=pause, seed=seed)


def run_blocks(
    blocks: Mapping[str, Callable[[], float]],
    *,
    rounds: int = ROUNDS,
    most: int = 0,
    pause: float = PAUSE,
    seed: int = 0,
) -> dict[str, Timing]:
    """As `time_blocks`, for who times a block in another process: each function runs one block
    of its candidate, DISCARDED calls and at least CALLS timed ones, and returns the median of
    these. Candidates whose median has not `settled` by then go on, for `most` rounds in all."""
    order = random.Random(seed)  # noqa: S311 (an order of blocks, no secret)
    times: dict[str, list[float]] = {name: [] for name in blocks}
    for done in range(max(rounds, most)):
        going = [name for name in blocks if done < rounds or not settled(times[name])]
        for name in order.sample(going, len(going)):
            time.sleep(pause)
            times[name].append(blocks[name]())
    return {name: Timing(tuple(found)) for name, found in times.items()}


def settled(blocks: Sequence[float]) -> bool:
    """Whether the last two blocks moved the median by SETTLED at most."""
    middle = statistics.median(blocks)
    return all(
        abs(statistics.median(blocks[:-less]) - middle) <= SETTLED * middle
        for less in (1, 2)
        if len(blocks) > less
    )


def _block(candidate: Callable[[], object], calls: int) -> float:
    for _ in range(DISCARDED):
        candidate()
    times = []
    for _ in range(calls):
        start = time.perf_counter()
        candidate()
        times.append(time.perf_counter() - start)
    return statistics.median(times)
