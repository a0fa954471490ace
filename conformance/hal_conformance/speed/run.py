"""`hal conformance --speed`: operators timed on devices side by side, against their ceilings."""

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
from hal.timing import ROUNDS, run_blocks
from hal_conformance.report import Ceiling, Limits, SpeedEntry, SpeedReport
from hal_conformance.speed.targets import CeilingTarget, Target, ceiling_targets
from hal_conformance.speed.timed import Timed

__all__ = ["BUDGET", "run_speed"]

BUDGET = 240.0
"""Seconds for one device."""
_MOST_ROUNDS = 9
_TOGETHER = 12
"""Models that are compiled at once: their blocks alternate, so that a moment's disturbance does not
hit all blocks of one."""
_TOGETHER_BYTES = 128 << 20
_LONGEST = 30.0
"""Seconds that one call may take at most."""
_ALLOCATOR = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 40)}
"""Freed memory is used again. By default glibc gives large blocks back at once, and the next run is
all page faults: a model's own planning of memory spares it these, a model of one node cannot."""
Advance = Callable[[object], None]
Timings = dict[str, Timed]
"""By device."""
T = TypeVar("T", Target, CeilingTarget)
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
) -> dict[str, SpeedReport]:
    """Time these targets on each device; by its id what was found.

    Devices are timed side by side, an emulated one by itself: its times are no hardware's. After
    `budget` seconds for each device what is left gets no time. `reference` is the id of the device
    of the ratios, one of `devices`. Ctrl-C ends it; what was measured until then is returned.
    `advance` is called with each target that is done.
    """
    groups = [[d for d in devices if not d.emulated], *([d] for d in devices if d.emulated)]
    found: dict[str, SpeedReport] = {}
    for group in filter(None, groups):
        bench = _Bench(registry, group, targets, limits, options, budget)
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
    ) -> None:
        self._devices, self._targets, self._options = devices, targets, options
        self._budget = budget * len(devices)
        self._new_host = functools.partial(
            registry.host,
            timeout=min(limits.timeout, _LONGEST),
            memory=limits.memory,
            env=_ALLOCATOR,
        )
        self._hosts: dict[str, Host] = {}
        self._found: list[tuple[Target, Timings | None]] = []
        self._ceilings: list[tuple[CeilingTarget, Timings | None]] = []
        self._start = time.monotonic()
        self._seconds = 0.0

    def run(self, advance: Advance) -> bool:
        """Whether Ctrl-C ended it."""
        self._start = time.monotonic()
        with contextlib.ExitStack() as stack:
            for device in self._devices:
                host = self._new_host(device.backend)
                self._hosts[device.id] = stack.enter_context(contextlib.closing(host))
            try:
                self._run(advance)
                return False
            except KeyboardInterrupt:
                return True
            finally:
                self._seconds = time.monotonic() - self._start

    def _run(self, advance: Advance) -> None:
        if not any(d.emulated for d in self._devices):
            for ceilings in _chunks(ceiling_targets()):
                self._time(ceilings, self._ceilings, _MOST_ROUNDS)
        for chunk in _chunks(self._targets):
            left = self._budget - (time.monotonic() - self._start)
            if left <= 0:
                self._found += [(t, None) for t in chunk]
            else:
                # Whoever is behind the plan repeats no more than must be.
                fair = self._budget * (1 - len(self._found) / len(self._targets))
                self._time(chunk, self._found, _MOST_ROUNDS if left >= fair else ROUNDS)
            for target in chunk:
                advance(target)

    def _time(self, chunk: Sequence[T], found: list[tuple[T, Timings | None]], most: int) -> None:
        """Each of these on each device; kept in `found`, after Ctrl-C what has blocks enough."""
        timings: list[tuple[T, Timings]] = []
        blocks: dict[str, Callable[[], float]] = {}
        try:
            for number, target in enumerate(chunk):
                made = target.made()
                own = {
                    d.id: Timed(self._hosts[d.id], d, *made, self._options) for d in self._devices
                }
                timings.append((target, own))
                for device, timed in own.items():
                    timed.prepare()
                    if not timed.reason:
                        blocks[f"{number} {device}"] = timed.block
            run_blocks(blocks, most=most)
        finally:
            for target, own in timings:
                for timed in own.values():
                    timed.close()
                if all(t.reason or len(t.blocks) >= ROUNDS for t in own.values()):
                    found.append((target, own))

    def report(self, device: Device, reference: str) -> SpeedReport:
        """What was found on one of the devices."""
        other = reference if reference in self._hosts and reference != device.id else ""
        entries = [self._entry(target, own, device.id, other) for target, own in self._found]
        late = sum(own is None for _, own in self._found)
        notes = []
        if late:
            notes.append(f"{late} sizes were not timed: {_SPENT}; see --speed-budget")
        return SpeedReport(
            planned=len(self._targets),
            entries=tuple(entries),
            ceilings=tuple(self._ceilings_of(device.id)),
            emulated=device.emulated,
            reference=other,
            seconds=self._seconds,
            notes=tuple(notes),
        )

    def _entry(
        self, target: Target, own: Timings | None, device: str, reference: str
    ) -> SpeedEntry:
        entry = SpeedEntry(
            operator=target.key,
            shape=target.shape,
            nodes=target.instance.count,
            typical=target.instance.typical,
            operations=target.operations,
            bytes=target.bytes,
        )
        if own is None:
            return dataclasses.replace(entry, reason=_SPENT)
        timed = own[device]
        return dataclasses.replace(
            entry,
            blocks=tuple(timed.blocks),
            reference=tuple(own[reference].blocks) if reference else (),
            memory=timed.memory,
            reason=timed.reason,
        )

    def _ceilings_of(self, device: str) -> Iterator[Ceiling]:
        best: dict[tuple[str, int], Ceiling] = {}
        for target, own in self._ceilings:
            if own is None or not own[device].blocks:
                continue
            blocks = own[device].blocks
            rate, spread = target.work / statistics.median(blocks), max(blocks) / min(blocks)
            ceiling = Ceiling(target.name, target.what, target.bytes, rate, spread)
            known = best.setdefault((target.name, target.bytes), ceiling)
            if rate > known.rate:
                best[target.name, target.bytes] = ceiling
        return iter(best.values())


def _chunks(targets: Sequence[T]) -> Iterator[list[T]]:
    chunk: list[T] = []
    size = 0
    for target in targets:
        if chunk and (len(chunk) == _TOGETHER or size + target.bytes > _TOGETHER_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(target)
        size += target.bytes
    if chunk:
        yield chunk
