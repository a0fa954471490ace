"""A decision with its evidence, and its one form as JSON."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Mapping
from typing import Any

from hal.device import Device
from hal.routing._candidate import Candidate

__all__ = ["Route", "Row"]

VERSION = 1
"""Of the JSON form."""


@dataclasses.dataclass(frozen=True)
class Row:
    """What is known of one candidate. Times are in seconds, `memory` in bytes.

    `state` is "won", "lost" (measured, and not the best), "wrong" (its outputs), "failed" (an error
    of the engine), "struck" (it cannot work, or takes no part) or "skipped" (not measured, because
    others are predicted to be better); `reason` says why in words. `errors` has the relative L2
    distance from the reference by output, `blocks` the median of each block of timed runs, `once`
    the time of a single run before them. `throughput` is in items a second, in batches of `batch`
    with `streams` threads.
    """

    candidate: Candidate
    state: str = "skipped"
    reason: str = ""
    predicted: float = math.inf
    once: float = 0.0
    blocks: tuple[float, ...] = ()
    p99: float = 0.0
    errors: Mapping[str, float] = dataclasses.field(default_factory=dict)
    memory: int = 0
    compiled: float = 0.0
    throughput: float = 0.0
    batch: int = 1
    streams: int = 1

    @property
    def median(self) -> float:
        """Over the blocks; infinite without any."""
        return statistics.median(self.blocks) if self.blocks else math.inf

    @property
    def spread(self) -> float:
        """The slowest block over the fastest; 1 without any."""
        return max(self.blocks) / min(self.blocks) if self.blocks else 1.0

    @property
    def error(self) -> float:
        """The worst output's; 0 where nothing was compared."""
        return max(self.errors.values(), default=0.0)

    @property
    def tried(self) -> bool:
        """Whether it was compiled and run."""
        return self.state in ("won", "lost", "wrong", "failed")

    def document(self) -> dict[str, Any]:
        """As JSON; numbers that JSON lacks are None."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        del fields["candidate"]
        fields |= {"predicted": _finite(self.predicted), "blocks": list(self.blocks)}
        fields["errors"] = {name: _finite(error) for name, error in self.errors.items()}
        median = _finite(self.median)
        return {**candidate_document(self.candidate), **fields, "median": median}

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Row:
        """Of its JSON form. Raises KeyError, TypeError or ValueError for what is none."""
        known = {f.name: document[f.name] for f in dataclasses.fields(cls) if f.name in document}
        errors = {str(n): _number(e) for n, e in document["errors"].items()}
        known |= {
            "candidate": candidate_of(document),
            "predicted": _number(document["predicted"]),
            "blocks": tuple(float(b) for b in document["blocks"]),
            "errors": errors,
        }
        return cls(**known)


@dataclasses.dataclass(frozen=True)
class Route:
    """A decision. `rows` holds every candidate, the winner first and the next best after it.

    `sizes` are those that open dimensions had, `inputs` is "synthetic" or "given", `reference` says
    what answers were compared with, `facts` what the decision depends on. `clear` says that the
    winner is ahead by more than the noise of measurement; `stale` why an older decision did not
    hold; `cached` that this is a stored one.
    """

    model: str
    rows: tuple[Row, ...]
    policy: str = "latency"
    accuracy: float | None = None
    sizes: Mapping[str, int] = dataclasses.field(default_factory=dict)
    inputs: str = "synthetic"
    reference: str = ""
    clear: bool = True
    seconds: float = 0.0
    facts: Mapping[str, str] = dataclasses.field(default_factory=dict)
    stamp: str = ""
    stale: tuple[str, ...] = ()
    cached: bool = False

    @property
    def winner(self) -> Row:
        return self.rows[0]

    @property
    def runners_up(self) -> tuple[Row, ...]:
        """The other candidates that gave right answers, the best first."""
        return tuple(row for row in self.rows[1:] if row.state == "lost" and row.blocks)

    def text(self) -> str:
        """A table of the candidates, with why each lost, and what the decision rests on."""
        from hal.routing._table import COLUMNS, cells, summary

        rows = [COLUMNS, *map(cells, self.rows)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        return "\n".join([*lines, "", *summary(self)])

    def document(self) -> dict[str, Any]:
        """As JSON."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        del fields["cached"]
        return {
            **fields,
            "version": VERSION,
            "rows": [row.document() for row in self.rows],
            "sizes": dict(self.sizes),
            "facts": dict(self.facts),
            "stale": list(self.stale),
        }

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Route:
        """Of its JSON form. Raises KeyError, TypeError or ValueError for what is none."""
        if document["version"] != VERSION:
            raise ValueError(f"a route of version {document['version']}")
        known = {f.name: document[f.name] for f in dataclasses.fields(cls) if f.name in document}
        known |= {"rows": tuple(Row.of(row) for row in document["rows"]), "cached": True}
        route = cls(**{**known, "stale": tuple(document["stale"])})
        if not route.rows:
            raise ValueError("a route without candidates")
        return route


def candidate_document(candidate: Candidate) -> dict[str, Any]:
    """A candidate as JSON."""
    from hal.host._codec import pack_device

    return {
        "label": candidate.label,
        "device": pack_device(candidate.device),
        "options": dict(candidate.options),
        "variant": candidate.variant,
    }


def candidate_of(document: Mapping[str, Any]) -> Candidate:
    """Of its JSON form. Raises KeyError, TypeError or ValueError for what is none."""
    known = {f.name for f in dataclasses.fields(Device)}
    device = Device(**{k: v for k, v in document["device"].items() if k in known})
    return Candidate(device, dict(document["options"]), str(document["variant"]))


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None


def _number(number: float | None) -> float:
    return math.inf if number is None else float(number)
