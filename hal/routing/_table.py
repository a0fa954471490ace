"""A route in words: the cells of its table, and the lines below it."""

from __future__ import annotations

import math

from hal.routing._report import Route, Row

__all__ = ["COLUMNS", "cells", "duration", "summary"]

COLUMNS = ("candidate", "state", "predicted", "measured", "spread", "error", "memory", "why")


def cells(row: Row) -> tuple[str, ...]:
    """The cells of a candidate's row, "" where nothing is known."""
    return (
        row.candidate.label,
        row.state,
        duration(row.predicted),
        duration(row.median) if row.blocks else (duration(row.once) if row.once else ""),
        f"{row.spread:.2f}" if len(row.blocks) > 1 else "",
        f"{row.error:.1e}" if row.errors else "",
        f"{row.memory / 2**20:.0f} MiB" if row.memory else "",
        _paced(row) if row.throughput else row.reason,
    )


def summary(route: Route) -> list[str]:
    """What the decision is and what it rests on, a line each."""
    winner = route.winner
    lines = [f"{winner.candidate.label} is best by {route.policy}"]
    if not route.clear:
        lines[0] += ", though not by more than the noise of measurement"
    if route.sizes:
        sizes = ", ".join(f"{name} {size}" for name, size in route.sizes.items())
        lines.append(f"for {sizes}")
    allowed = "float32's own error" if route.accuracy is None else f"{route.accuracy:.2%}"
    lines.append(f"on {route.inputs} inputs, within {allowed} of {route.reference}")
    tried = sum(row.tried for row in route.rows)
    could = sum(row.state != "struck" for row in route.rows)
    lines.append(f"{tried} of {could} candidates were run, in {route.seconds:.1f} s")
    if route.stale:
        lines.append(f"an older decision was stale: {'; '.join(route.stale)}")
    if route.cached:
        lines.append("from the store (--no-cache decides anew)")
    return lines


def duration(seconds: float) -> str:
    """Seconds in the unit that reads best, with three digits."""
    if not math.isfinite(seconds):
        return ""
    for factor, unit in ((1.0, "s"), (1e3, "ms")):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"


def _paced(row: Row) -> str:
    threads = "thread" if row.streams == 1 else "threads"
    paced = f"{row.throughput:.4g}/s in batches of {row.batch} with {row.streams} {threads}"
    return f"{paced}; {row.reason}" if row.reason else paced
