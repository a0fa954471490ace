"""The fewest parts that run a graph on devices which take some of its nodes each.

Parts run one after the other, each on one device: they are the segments of a topological order, so
every part is convex and no two wait for each other. A device that goes on until nothing is left
that it could take never needs more parts than one that stops earlier, so the search is over
sequences of devices alone. It is exact unless a graph is both large and for many devices, where it
keeps the most promising sequences. Among as few parts, costs choose.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence

__all__ = ["Problem", "Segment", "partition"]

_WIDTH = 200_000
"""Sequences times nodes that the search holds."""
_EVALUATIONS = 200_000
"""Sequences times nodes whose costs are looked at."""


@dataclasses.dataclass(frozen=True)
class Problem:
    """A graph, its nodes in topological order. `before` has those that a node reads from, `able`
    the devices that take it, `cost` the seconds of a node on a device, and `transfer` those of
    handing what the first node gives to the second, from device to device, in another part."""

    before: Sequence[Sequence[int]]
    able: Sequence[frozenset[int]]
    cost: Callable[[int, int], float] = lambda node, device: 0.0
    transfer: Callable[[int, int, int, int], float] = lambda giver, reader, here, there: 0.0

    @property
    def after(self) -> list[list[int]]:
        """The readers of each node."""
        found: list[list[int]] = [[] for _ in self.before]
        for node, givers in enumerate(self.before):
            for giver in givers:
                found[giver].append(node)
        return found


@dataclasses.dataclass(frozen=True)
class Segment:
    """A part: its device, and its nodes in topological order."""

    device: int
    nodes: tuple[int, ...]


def partition(problem: Problem) -> list[Segment]:
    """The parts in the order in which they run. Raises ValueError for a node that no device takes;
    no part is empty, and no two neighbours have the same device."""
    count = len(problem.before)
    for node, able in enumerate(problem.able):
        if not able:
            raise ValueError(f"no device takes node {node}")
    if not count:
        return []
    after = problem.after
    best = _fewest(problem, after)
    found = _Evaluated(problem, after, best)
    others = _neighbours(best, sorted(frozenset().union(*problem.able)))
    for sequence in itertools.islice(others, max(4, _EVALUATIONS // count)):
        found.consider(sequence)
    return found.segments()


def _fewest(problem: Problem, after: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """The shortest sequence of devices that runs everything."""
    count = len(problem.before)
    width = max(8, _WIDTH // count)
    devices = sorted(frozenset().union(*problem.able))
    waiting = [len(set(givers)) for givers in problem.before]
    after = [sorted(set(readers)) for readers in after]
    ready = [node for node, number in enumerate(waiting) if not number]
    states = [_State((), waiting, ready, bytearray(count), 0)]
    while True:
        reached: list[_State] = []
        for state in states:
            for device in devices:
                if state.path and state.path[-1] == device:
                    continue
                further = state.run(device, problem.able, after)
                if further.count == count:
                    return further.path
                if further.count > state.count:
                    reached.append(further)
        states = _undominated(reached, width)


class _State:
    """What has run after a sequence of devices, each going on as long as it can."""

    def __init__(
        self, path: tuple[int, ...], waiting: list[int], ready: list[int], done: bytearray, n: int
    ) -> None:
        self.path, self._waiting, self._ready, self._done, self.count = (
            path,
            waiting,
            ready,
            done,
            n,
        )

    @property
    def mask(self) -> int:
        return int.from_bytes(self._done, "little")

    def run(
        self, device: int, able: Sequence[frozenset[int]], after: Sequence[Sequence[int]]
    ) -> _State:
        waiting, done, count = self._waiting.copy(), self._done.copy(), self.count
        stack = [node for node in self._ready if device in able[node]]
        blocked = [node for node in self._ready if device not in able[node]]
        while stack:
            node = stack.pop()
            done[node] = 1
            count += 1
            for reader in after[node]:
                waiting[reader] -= 1
                if not waiting[reader]:
                    (stack if device in able[reader] else blocked).append(reader)
        return _State((*self.path, device), waiting, blocked, done, count)


def _undominated(states: list[_State], width: int) -> list[_State]:
    """Without those that have run nothing that another has not, the furthest first."""
    kept: list[tuple[int, _State]] = []
    for state in sorted(states, key=lambda s: -s.count):
        mask = state.mask
        if not any(other | mask == other for other, _ in kept):
            kept.append((mask, state))
            if len(kept) == width:
                break
    return [state for _, state in kept]


def _neighbours(sequence: tuple[int, ...], devices: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """The sequence with one device in place of another, everywhere, and then in one place."""
    for old in sorted(set(sequence)):
        for new in devices:
            changed = tuple(new if device == old else device for device in sequence)
            if new != old and _alternates(changed):
                yield changed
    for place, old in enumerate(sequence):
        for new in devices:
            around = sequence[max(place - 1, 0) : place + 2]
            if new != old and new not in around:
                yield (*sequence[:place], new, *sequence[place + 1 :])


def _alternates(sequence: tuple[int, ...]) -> bool:
    return all(a != b for a, b in itertools.pairwise(sequence))


class _Evaluated:
    """The cheapest of the sequences that have been considered, with the places of the nodes."""

    def __init__(
        self, problem: Problem, after: Sequence[Sequence[int]], first: tuple[int, ...]
    ) -> None:
        self._problem, self._after = problem, after
        self._sequence: tuple[int, ...] = first
        self._places: list[int] = []
        self._cost = math.inf
        self.consider(first)

    def consider(self, sequence: tuple[int, ...]) -> None:
        """Take a sequence over if it runs everything and costs less."""
        places = self._earliest(sequence)
        if places is None:
            return
        for _ in range(2):
            self._slide(sequence, places, reversed(range(len(places))))
            self._slide(sequence, places, range(len(places)))
        cost = self._total(sequence, places)
        if cost < self._cost:
            self._sequence, self._places, self._cost = sequence, places, cost

    def segments(self) -> list[Segment]:
        nodes: list[list[int]] = [[] for _ in self._sequence]
        for node, place in enumerate(self._places):
            nodes[place].append(node)
        found: list[Segment] = []
        for device, own in zip(self._sequence, nodes, strict=True):
            if not own:  # only where the search was not exact
                continue
            if found and found[-1].device == device:
                own = sorted((*found.pop().nodes, *own))
            found.append(Segment(device, tuple(own)))
        return found

    def _earliest(self, sequence: tuple[int, ...]) -> list[int] | None:
        """The first place at which each node can run; None if one cannot."""
        following = _following(sequence)
        places: list[int] = []
        for node, able in enumerate(self._problem.able):
            start = max((places[giver] for giver in self._problem.before[node]), default=0)
            place = min(following[start].get(d, len(sequence)) for d in able)
            if place == len(sequence):
                return None
            places.append(place)
        return places

    def _slide(self, sequence: tuple[int, ...], places: list[int], order: Iterable[int]) -> None:
        """Move nodes, one by one, to the place that costs least."""
        before, after, able = self._problem.before, self._after, self._problem.able
        following = _following(sequence)
        for node in order:
            givers, readers = before[node], after[node]
            low = max((places[n] for n in givers), default=0)
            high = min((places[n] for n in readers), default=len(sequence) - 1)
            if low == high:
                continue
            options = {low, high, places[node]}
            options.update(following[low].get(d, high) for d in able[node])
            options.update(places[n] for n in readers if places[n] <= high)
            allowed = [p for p in sorted(options) if p <= high and sequence[p] in able[node]]
            places[node] = min(
                allowed, key=lambda p: (self._at(node, p, sequence, places), abs(p - places[node]))
            )

    def _at(self, node: int, place: int, sequence: tuple[int, ...], places: list[int]) -> float:
        problem, here = self._problem, sequence[place]
        cost = problem.cost(node, here)
        for giver in problem.before[node]:
            if places[giver] != place:
                cost += problem.transfer(giver, node, sequence[places[giver]], here)
        for reader in self._after[node]:
            if places[reader] != place:
                cost += problem.transfer(node, reader, here, sequence[places[reader]])
        return cost

    def _total(self, sequence: tuple[int, ...], places: list[int]) -> float:
        problem = self._problem
        total = 0.0
        for node, place in enumerate(places):
            here = sequence[place]
            total += problem.cost(node, here)
            for giver in problem.before[node]:
                if places[giver] != place:
                    total += problem.transfer(giver, node, sequence[places[giver]], here)
        return total


def _following(sequence: tuple[int, ...]) -> list[dict[int, int]]:
    """For each place, where each device next has a turn, that place included."""
    found: list[dict[int, int]] = [{} for _ in sequence]
    turns: dict[int, int] = {}
    for place in reversed(range(len(sequence))):
        turns[sequence[place]] = place
        found[place] = dict(turns)
    return found
