"""`hal compare`: what changed between two conformance reports."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from hal.cli._output import console, table, write_json
from hal_conformance.compare_reports import (
    NOISE,
    CaseChange,
    Comparison,
    DeviceComparison,
    ScoreChange,
    SpeedChange,
    compare_reports,
)
from hal_conformance.compare_speed import MeasuredChange, SpeedComparison
from hal_conformance.report import Score, read

__all__ = ["compare"]

_SHOWN = 20
_REASON_LENGTH = 100


def compare(
    old: Annotated[Path, typer.Argument(help="The earlier report.", metavar="OLD.json")],
    new: Annotated[Path, typer.Argument(help="The later report.", metavar="NEW.json")],
    device: Annotated[
        list[str] | None,
        typer.Option("--device", "-d", help="Only this device; A=B sets old A against new B."),
    ] = None,
    noise: Annotated[
        float, typer.Option(min=1.0, help="Ratios of times up to this are noise.")
    ] = NOISE,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show every change, and not the first 20.")
    ] = False,
    allow_incomplete: Annotated[
        bool, typer.Option("--allow-incomplete", help="Compare what ran in both.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON (hal.compare/1).")] = False,
) -> None:
    """Compare two conformance reports: newly failing and passing, slower and faster, the scores.

    Exits 1 on a regression: a case or a device that passed or was there, and no longer is. Slower
    operators are shown but are no regression, because a conformance run times each case once. What
    --speed measured in both is compared with the spreads that the reports state.

    Example: hal compare before.json after.json

    Example: hal compare --device ort:cpu=openvino:cpu report.json report.json
    """
    comparison = compare_reports(
        read(old), read(new), devices=device or (), noise=noise, allow_incomplete=allow_incomplete
    )
    if as_json:
        write_json("hal.compare/1", _document(comparison))
    else:
        _print(comparison, None if verbose else _SHOWN)
    if comparison.regression:
        raise typer.Exit(1)


def _print(comparison: Comparison, limit: int | None) -> None:
    out = console()
    for device in comparison.devices:
        both = (device.old_device, device.new_device)
        out.print(" → ".join(dict.fromkeys(both)), style="bold")
        for note in device.notes:
            out.print(f"  note: {note}")
        if device.speed:
            out.print(f"  {_speed_line(device.speed)}")
        if device.scores:
            out.print(table(("score", "then", "now"), map(_score_row, device.scores)))
        for title, columns, rows in _sections(device):
            if rows:
                heading = f"{title}: {len(rows)}"
                out.print(table(columns, rows[:limit], title=heading))
                if limit is not None and len(rows) > limit:
                    out.print(f"{len(rows) - limit} more: hal compare --verbose")
    for text, ids in (("gone", comparison.only_old), ("new", comparison.only_new)):
        if ids:
            out.print(f"{text}: {', '.join(ids)}")
    out.print(_verdict(comparison))


def _verdict(comparison: Comparison) -> str:
    counts = {
        "newly failing": sum(len(d.newly_failing) for d in comparison.devices),
        "removed": sum(len(d.removed) for d in comparison.devices),
        "devices gone": len(comparison.only_old),
    }
    found = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    return f"regression: {found}" if found else "no regression"


def _sections(
    device: DeviceComparison,
) -> Iterator[tuple[str, tuple[str, ...], Sequence[tuple[str, ...]]]]:
    cases = ("case", "then", "now", "reason")
    yield "newly failing", cases, [*map(_case_row, device.newly_failing)]
    yield "removed", ("case",), [(i,) for i in device.removed]
    yield "newly passing", cases, [*map(_case_row, device.newly_passing)]
    yield "changed", cases, [*map(_case_row, device.changed)]
    yield "added", ("case",), [(i,) for i in device.added]
    speeds = ("operator", "time now / then", "cases")
    yield "slower", speeds, [*map(_speed_row, device.slower)]
    yield "faster", speeds, [*map(_speed_row, device.faster)]
    if device.speed:
        measured = ("operator", "reads", "time now / then", "spread")
        for title, changes in (
            ("measured slower", device.speed.slower),
            ("measured faster", device.speed.faster),
        ):
            yield title, measured, [*map(_measured_row, changes)]


def _score_row(change: ScoreChange) -> tuple[str, ...]:
    then, now = (str(s) if s else "incomplete" for s in (change.old, change.new))
    return change.name.replace("_", "-"), then, now


def _case_row(change: CaseChange) -> tuple[str, ...]:
    reason = " ".join(change.reason.split())
    if len(reason) > _REASON_LENGTH:
        reason = reason[: _REASON_LENGTH - 1] + "…"
    return change.id, change.old.value, change.new.value, reason


def _speed_row(change: SpeedChange) -> tuple[str, ...]:
    return change.operator, f"{change.ratio:.2f}", str(change.cases)


def _measured_row(change: MeasuredChange) -> tuple[str, ...]:
    return change.operator, change.shape, f"{change.ratio:.2f}", f"{change.spread:.2f}"


def _speed_line(speed: SpeedComparison) -> str:
    beyond = len(speed.slower) + len(speed.faster)
    return (
        f"--speed: {speed.compared} sizes timed in both, {speed.mean:.2f} times as long as then in "
        f"the geometric mean; {beyond} differ by more than their spread"
    )


def _document(comparison: Comparison) -> dict[str, Any]:
    return {
        "regression": comparison.regression,
        "only_old": list(comparison.only_old),
        "only_new": list(comparison.only_new),
        "devices": [_device(d) for d in comparison.devices],
    }


def _device(device: DeviceComparison) -> dict[str, Any]:
    return {
        "old_device": device.old_device,
        "new_device": device.new_device,
        "regression": device.regression,
        "scores": {c.name: {"old": _score(c.old), "new": _score(c.new)} for c in device.scores},
        **{
            name: [_case(c) for c in getattr(device, name)]
            for name in ("newly_passing", "newly_failing", "changed")
        },
        "added": list(device.added),
        "removed": list(device.removed),
        "slower": [vars(c) for c in device.slower],
        "faster": [vars(c) for c in device.faster],
        "notes": list(device.notes),
        "speed": dataclasses.asdict(device.speed) if device.speed else None,
    }


def _score(score: Score | None) -> dict[str, int] | None:
    return {"passed": score.passed, "total": score.total} if score else None


def _case(change: CaseChange) -> dict[str, str]:
    return {
        "id": change.id,
        "old": change.old.value,
        "new": change.new.value,
        "reason": change.reason,
    }
