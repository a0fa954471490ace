"""The speed section of a device's report, and its JSON. Import from `hal_conformance.report`."""

from __future__ import annotations

import dataclasses
import statistics
from typing import Any

from hal_conformance._json_reading import each, get, number, strings

__all__ = ["Ceiling", "SpeedEntry", "SpeedReport", "speed_from_json", "speed_to_json"]

Json = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Ceiling:
    """What a model that does nothing else reached on the device in the same run: `matmul` in
    operations a second, `copy` in bytes a second read and written. `what` is the model, `bytes`
    what it reads and writes, `spread` the slowest block over the fastest."""

    name: str
    what: str
    bytes: int
    rate: float
    spread: float


@dataclasses.dataclass(frozen=True)
class SpeedEntry:
    """One operator at one size.

    `nodes` of the zoo's models are the same; with `typical` the size is HAL's own choice. `blocks`
    are the medians of the timed blocks in seconds, none where it could not be timed, for `reason`.
    `operations` and `bytes` are what it takes at least. `memory`: bytes that the host process grew
    by from compiling to the end of the first runs, at least, as what earlier models freed is used
    again; None where nobody tells. `reference`: the blocks on the reference device.
    """

    operator: str
    shape: str
    nodes: int
    typical: bool
    operations: float
    bytes: int
    blocks: tuple[float, ...] = ()
    reference: tuple[float, ...] = ()
    memory: int | None = None
    reason: str = ""

    @property
    def seconds(self) -> float | None:
        """The median."""
        return statistics.median(self.blocks) if self.blocks else None

    @property
    def spread(self) -> float | None:
        """The slowest block over the fastest."""
        return max(self.blocks) / min(self.blocks) if self.blocks else None

    @property
    def operation_rate(self) -> float | None:
        """Operations a second."""
        return None if self.seconds is None else self.operations / self.seconds

    @property
    def byte_rate(self) -> float | None:
        """Bytes a second."""
        return None if self.seconds is None else self.bytes / self.seconds


@dataclasses.dataclass(frozen=True)
class SpeedReport:
    """What `hal conformance --speed` measured on one device.

    `planned` entries were to be timed; fewer after Ctrl-C. `emulated`: the times are those of an
    emulator and compare with no hardware's, so there are no ceilings. `reference` is the id of the
    device of the ratios, "" for none.
    """

    planned: int
    entries: tuple[SpeedEntry, ...]
    ceilings: tuple[Ceiling, ...]
    emulated: bool = False
    reference: str = ""
    seconds: float = 0.0
    notes: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        return len(self.entries) == self.planned

    @property
    def timed(self) -> tuple[SpeedEntry, ...]:
        """The entries that have a time."""
        return tuple(e for e in self.entries if e.blocks)

    def ceiling(self, name: str, size: int = 0) -> float | None:
        """The rate of a ceiling for what reads and writes `size` bytes: the best of those that
        move as much, or of the largest; None where none was measured.

        A copy that a cache holds is faster than one that it does not, so one rate would be too low
        for small tensors or too high for large ones.
        """
        found = [c for c in self.ceilings if c.name == name]
        if not found:
            return None
        enough = [c for c in found if c.bytes >= size]
        return max(c.rate for c in enough or [max(found, key=lambda c: c.bytes)])

    def shares(self, entry: SpeedEntry) -> tuple[float | None, float | None]:
        """Of the matmul ceiling and of the copy ceiling, what the entry reached."""
        matmul, copy = self.ceiling("matmul"), self.ceiling("copy", entry.bytes)
        operations, moved = entry.operation_rate, entry.byte_rate
        return (
            operations / matmul if operations is not None and matmul else None,
            moved / copy if moved is not None and copy else None,
        )

    def share(self, entry: SpeedEntry) -> float | None:
        """Of the ceiling that is nearer, what the entry reached."""
        return max((s for s in self.shares(entry) if s is not None), default=None)

    def ratio(self, entry: SpeedEntry) -> float | None:
        """How many times faster than on the reference device."""
        if self.emulated or not entry.reference or not entry.seconds:
            return None
        return statistics.median(entry.reference) / entry.seconds


def speed_to_json(speed: SpeedReport) -> Json:
    """As JSON data, with what follows from the blocks, for readers that are no HAL."""
    return {
        "planned": speed.planned,
        "emulated": speed.emulated,
        "reference": speed.reference,
        "seconds": speed.seconds,
        "notes": list(speed.notes),
        "ceilings": [dataclasses.asdict(c) for c in speed.ceilings],
        "entries": [_entry_to_json(speed, e) for e in speed.entries],
    }


def speed_from_json(data: Json) -> SpeedReport:
    """The section in JSON data. Raises KeyError, TypeError or ValueError where it is none."""
    return SpeedReport(
        planned=get(data, "planned", int),
        entries=each(data, "entries", _entry_from_json),
        ceilings=each(data, "ceilings", _ceiling_from_json),
        emulated=get(data, "emulated", bool),
        reference=get(data, "reference", str),
        seconds=number(data, "seconds"),
        notes=strings(data, "notes"),
    )


def _entry_to_json(speed: SpeedReport, entry: SpeedEntry) -> Json:
    of_matmul, of_copy = speed.shares(entry)
    return {
        **dataclasses.asdict(entry),
        "blocks": list(entry.blocks),
        "reference": list(entry.reference),
        "median_seconds": entry.seconds,
        "spread": entry.spread,
        "operations_per_second": entry.operation_rate,
        "bytes_per_second": entry.byte_rate,
        "of_matmul": of_matmul,
        "of_copy": of_copy,
        "times_reference": speed.ratio(entry),
    }


def _entry_from_json(data: Any) -> SpeedEntry:
    return SpeedEntry(
        operator=get(data, "operator", str),
        shape=get(data, "shape", str),
        nodes=get(data, "nodes", int),
        typical=get(data, "typical", bool),
        operations=number(data, "operations"),
        bytes=get(data, "bytes", int),
        blocks=_seconds(data, "blocks"),
        reference=_seconds(data, "reference"),
        memory=get(data, "memory", int, type(None)),
        reason=get(data, "reason", str),
    )


def _ceiling_from_json(data: Any) -> Ceiling:
    name, what = get(data, "name", str), get(data, "what", str)
    size = get(data, "bytes", int)
    return Ceiling(name, what, size, number(data, "rate"), number(data, "spread"))


def _seconds(data: Any, key: str) -> tuple[float, ...]:
    found = tuple(number({"x": v}, "x") for v in get(data, key, list))
    if any(v <= 0 for v in found):
        raise ValueError(f"{key!r} holds a time that is not over 0")
    return found
