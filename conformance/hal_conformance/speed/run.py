"""`hal conformance --speed`: operators timed on devices side by side, against their ceilings.

Everything is timed in several passes that lie minutes apart, each in host processes of its own:
where memory lies, which cores run a process and what a machine's neighbours do make more of a
difference than one block after another shows.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from hal import Device
from hal.backend import Option
from hal.host import Host
from hal.plugins import Registry
from hal.timing import ROUNDS, run_blocks, settled
from hal_conformance.report import Ceiling, Limits, SpeedEntry, SpeedReport
from hal_conformance.speed.targets import CeilingTarget, Target, ceiling_targets
from hal_conformance.speed.timed import Measured, Timed

__all__ = ["BUDGET", "PASSES", "run_speed"]

BUDGET = 300.0
"""Seconds for one device."""
PASSES = 3
"""Passes over everything: ROUNDS blocks each in the first, one in the others."""
_FIRST = 0.6
"""The share of the budget for the first pass."""
_CEILINGS = 0.2
"""The share of the budget after which the first pass begins no more ceilings, of which the largest
come last: on a slow device they would take all of it."""
_MOST_PASSES = 7
"""Passes for what has not settled by then, while there is time."""
_CALL = 0.07
"""The share that an empty call may have of the time of a copy that counts as a ceiling."""
_UNSTEADY = 3.0
"""A ceiling's slowest block over its fastest, beyond which it is none: a share of it means nothing.
Copies as large as a cache have up to 2.2 (docs/speed.md)."""
_TOGETHER = 12
"""Models that are compiled at once: their blocks alternate, so that a moment's disturbance does not
hit all blocks of one."""
_TOGETHER_BYTES = 128 << 20
_LONGEST = 30.0
"""Seconds that one call may take at most."""
_ALLOCATOR = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(1 << 40),
    "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0:glibc.malloc.hugetlb=1",
}
"""Freed memory is used again. By default glibc gives large blocks back at once, and the next run is
all page faults: a model's own planning of memory spares it these, a model of one node cannot. And
the slivers beside an aligned block, which glibc 2.36 keeps for each thread, part it from the free
memory around it, so that the next one lies elsewhere, outside the cache."""
Advance = Callable[[object], None]
Beside = Callable[[CeilingTarget], Mapping[str, Callable[[], float]]]
T = TypeVar("T", Target, CeilingTarget)
Timings = list[tuple[T, dict[str, Measured]]]
"""What was measured, by device."""
_SPENT = "the time for the device was spent"


def run_speed(
    registry: Registry,
    devices: Sequence[Device],
    targets: Sequence[Target],
    limits: Limits,
    options: Mapping[str, Option],
    *,
    budget: float = BUDGET,
    reference: str = "",
    advance: Advance = lambda done: None,
    beside: Beside = lambda target: {},
) -> dict[str, SpeedReport]:
    """Time these targets on each device; by its id what was found.

    Devices are timed side by side, an emulated one by itself: its times are no hardware's. After
    `budget` seconds for each device what is left gets no time. `reference` is the id of the device
    of the ratios, one of `devices`. Ctrl-C ends it; what was measured until then is returned.
    `advance` is called PASSES times with each target. `beside` gives blocks of other means to do a
    ceiling's work, which are timed in the same rounds.
    """
    groups = [[d for d in devices if not d.emulated], *([d] for d in devices if d.emulated)]
    found: dict[str, SpeedReport] = {}
    for group in filter(None, groups):
        bench = _Bench(registry, group, targets, limits, options, budget, beside)
        interrupted = bench.run(advance)
        found.update((d.id, bench.report(d, reference)) for d in group)
        if interrupted:
            break
    for device in devices:  # after Ctrl-C
        found.setdefault(device.id, SpeedReport(len(targets), (), (), device.emulated))
    return found


class _Bench:
    """Devices that are timed side by side."""

    def __init__(
        self,
        registry: Registry,
        devices: Sequence[Device],
        targets: Sequence[Target],
        limits: Limits,
        options: Mapping[str, Option],
        budget: float,
        beside: Beside,
    ) -> None:
        self._devices, self._options, self._beside = devices, options, beside
        self._budget = budget * len(devices)
        self._new_host = functools.partial(
            registry.host,
            timeout=min(limits.timeout, _LONGEST),
            memory=limits.memory,
            env=_ALLOCATOR,
        )
        self._hosts: dict[str, Host] = {}
        self._found: Timings[Target] = [(t, self._nothing()) for t in targets]
        ceilings = [] if any(d.emulated for d in devices) else ceiling_targets()
        self._ceilings: Timings[CeilingTarget] = [(t, self._nothing()) for t in ceilings]
        self._interrupted = False
        self._start = time.monotonic()
        self._seconds = 0.0

    def _nothing(self) -> dict[str, Measured]:
        return {d.id: Measured() for d in self._devices}

    def run(self, advance: Advance) -> bool:
        """Whether Ctrl-C ended it."""
        self._start = time.monotonic()
        try:
            self._run(advance)
        except KeyboardInterrupt:
            self._interrupted = True
        self._seconds = time.monotonic() - self._start
        return self._interrupted

    def _run(self, advance: Advance) -> None:
        self._pass(0, ROUNDS, self._found, _FIRST * self._budget, advance)
        for number in range(1, PASSES):
            self._pass(number, 1, self._found, self._budget, advance)
        for number in range(PASSES, _MOST_PASSES):
            going = [(t, own) for t, own in self._found if _done(own) and not _settled(own)]
            if going and time.monotonic() < self._start + self._budget:
                self._pass(number, 1, going, self._budget, lambda target: None)

    def _pass(
        self, number: int, rounds: int, found: Timings[Target], until: float, advance: Advance
    ) -> None:
        """`rounds` blocks of each, in hosts of their own, until so many seconds from the start."""
        with contextlib.ExitStack() as stack:
            for device in self._devices:
                host = self._new_host(device.backend)
                self._hosts[device.id] = stack.enter_context(contextlib.closing(host))
            for ceilings in _chunks(self._ceilings) if number < PASSES else ():
                if number or time.monotonic() < self._start + _CEILINGS * self._budget:
                    self._time([c for c in ceilings if not number or _done(c[1])], rounds, number)
            for chunk in _chunks(found):
                if time.monotonic() < self._start + until:
                    # What the first pass did not reach would have too few blocks.
                    self._time([f for f in chunk if not number or _done(f[1])], rounds, number)
                for target, _ in chunk:
                    advance(target)

    def _time(self, chunk: Timings[T], rounds: int, seed: int) -> None:
        """So many blocks more of each of these on each device."""
        opened: list[Timed] = []
        blocks: dict[str, Callable[[], float]] = {}
        try:
            for number, (target, own) in enumerate(chunk):
                made = target.made()
                if isinstance(target, CeilingTarget):
                    blocks.update(self._beside(target))
                for device in self._devices:
                    host, measured = self._hosts[device.id], own[device.id]
                    if not measured.reason:
                        opened.append(Timed(host, device, *made, self._options, measured))
                        opened[-1].prepare()
                        blocks[f"{number} {device.id}"] = opened[-1].block
            run_blocks(blocks, rounds=rounds, seed=seed)
        finally:
            for timed in opened:
                timed.close()

    def report(self, device: Device, reference: str) -> SpeedReport:
        """What was found on one of the devices."""
        other = reference if reference in self._hosts and reference != device.id else ""
        found = [f for f in self._found if _done(f[1]) or not self._interrupted]
        entries = [self._entry(target, own, device.id, other) for target, own in found]
        notes = []
        if late := sum(not _done(own) for _, own in found):
            notes.append(f"{late} sizes were not timed: {_SPENT}; see --speed-budget")
        if late := sum(not _done(own) for _, own in self._ceilings):
            notes.append(f"{late} models for ceilings were not timed: {_SPENT}; see --speed-budget")
        possible = [own[device.id].blocks for t, own in self._ceilings if t.name != "call"]
        if odd := sum(map(_unsteady, possible)):
            notes.append(f"{odd} models are no ceilings: their blocks differ {_UNSTEADY:g}-fold")
        if once := sum(len(own[device.id].blocks) == ROUNDS for _, own in found):
            notes.append(
                f"{once} sizes were timed in one pass, where others have {PASSES}: their spread is "
                "too small; see --speed-budget"
            )
        return SpeedReport(
            planned=len(self._found),
            entries=tuple(entries),
            ceilings=tuple(self._ceilings_of(device.id)),
            emulated=device.emulated,
            reference=other,
            seconds=self._seconds,
            notes=tuple(notes),
        )

    def _entry(
        self, target: Target, own: Mapping[str, Measured], device: str, reference: str
    ) -> SpeedEntry:
        entry = SpeedEntry(
            operator=target.key,
            shape=target.shape,
            nodes=target.instance.count,
            typical=target.instance.typical,
            operations=target.operations,
            bytes=target.bytes,
        )
        timed = own[device]
        if not timed.blocks:
            return dataclasses.replace(entry, reason=timed.reason or _SPENT)
        return dataclasses.replace(
            entry,
            blocks=tuple(timed.blocks),
            reference=tuple(own[reference].blocks) if reference else (),
            memory=timed.memory,
            reason=timed.reason,
        )

    def _ceilings_of(self, device: str) -> Iterator[Ceiling]:
        """The best product; of each size the best copy, unless calling is too large a part. Neither
        counts if its blocks tell of no speed."""
        timed = [(t, own[device].blocks) for t, own in self._ceilings if own[device].blocks]
        call = min((statistics.median(b) for t, b in timed if t.name == "call"), default=0.0)
        largest = max((t.bytes for t, _ in timed if t.name == "copy"), default=0)
        best: dict[tuple[str, int], Ceiling] = {}
        for target, blocks in timed:
            seconds = statistics.median(blocks)
            copy = target.name == "copy"
            dwarfed = copy and call > _CALL * seconds and target.bytes < largest
            if target.name == "call" or dwarfed or _unsteady(blocks):
                continue
            rate, spread = target.work / seconds, max(blocks) / min(blocks)
            ceiling = Ceiling(target.name, target.what, target.bytes, rate, spread)
            known = best.setdefault((target.name, target.bytes if copy else 0), ceiling)
            if rate > known.rate:
                best[target.name, target.bytes if copy else 0] = ceiling
        return iter(best.values())


def _done(own: Mapping[str, Measured]) -> bool:
    """Whether nothing more is needed for a result."""
    return all(m.reason or len(m.blocks) >= ROUNDS for m in own.values())


def _unsteady(blocks: Sequence[float]) -> bool:
    return bool(blocks) and max(blocks) > _UNSTEADY * min(blocks)


def _settled(own: Mapping[str, Measured]) -> bool:
    return all(not m.blocks or settled(m.blocks) for m in own.values())


def _chunks(found: Timings[T]) -> Iterator[Timings[T]]:
    chunk: Timings[T] = []
    size = 0
    for target, own in found:
        if chunk and (len(chunk) == _TOGETHER or size + target.bytes > _TOGETHER_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append((target, own))
        size += target.bytes
    if chunk:
        yield chunk
