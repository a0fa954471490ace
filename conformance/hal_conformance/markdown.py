"""Markdown of reports: a table for a README, a row a device."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

from hal import OutcomeClass
from hal_conformance._files import write_text
from hal_conformance._speed_text import amount, percent, ratio
from hal_conformance.precision import marked
from hal_conformance.report import DeepReport, DeviceReport
from hal_conformance.side_by_side import Run, score_rows
from hal_conformance.speed_table import (
    SpeedCell,
    fraction_of_ceiling,
    speed_rows,
    times_reference,
)

__all__ = ["render_markdown", "write_markdown"]

_SPEEDS = 20
"""Rows of operators."""
_REASON = 200
"""Characters."""


def write_markdown(runs: Sequence[Run], path: Path) -> None:
    """Write the tables of these runs, whole or not at all. Raises OutputError naming the path."""
    write_text(path, render_markdown(runs))


def render_markdown(runs: Sequence[Run]) -> str:
    """A table for each suite and selection, the cells of each profile, and how it was measured.

    An incomplete run has no score. The runs of one table have the same denominators.
    """
    tables: dict[tuple[str, str, str], list[Run]] = {}
    for run in runs:
        tables.setdefault(_measured(run.report), []).append(run)
    found = [_table(kind, members) for kind, members in tables.items()]
    found += [_deep(run.label, run.report.deep) for run in runs if run.report.deep]
    timed = [run for run in runs if run.report.speed]
    if timed:
        found.append(_speed(timed))
    return "\n".join(found)


def _measured(report: DeviceReport) -> tuple[str, str, str]:
    chosen = report.selection
    what = [f"suite {chosen.suite}"]
    if chosen.profile:
        what.append(f"profile {chosen.profile}")
    if chosen.pattern:
        what.append(f"only {chosen.pattern}")
    contract = f"contract {report.contract.version}"
    if report.contract.onnx:
        contract += f" of onnx {report.contract.onnx}"
    version = report.environment.packages.get("hal-conformance", "")
    return ", ".join(what), contract, version and f"hal-conformance {version}"


def _table(kind: tuple[str, str, str], runs: Sequence[Run]) -> str:
    sizes = {run.report.scores.cells.of_contract for run in runs if run.report.scores}
    of_contract = f" of {sizes.pop()}" if len(sizes) == 1 else ""
    columns = ["device", "headline", *(c.value for c in OutcomeClass)]
    columns += ["cases", f"cells{of_contract}", "operators, any", "operators, all"]
    columns += ["nodes of real models", "evidence"]
    lines = [_line(columns), _line("---" for _ in columns)]
    lines += [_line(_row(run)) for run in runs]
    lines += _profiles([run for run in runs if run.report.scores])
    lines += ["", f"Measured by `hal conformance`: {_text(', '.join(filter(None, kind)))}."]
    lines += ["", *(f"- {_text(run.label)}: {_made_with(run.report)}" for run in runs)]
    return "\n".join(lines) + "\n"


def _row(run: Run) -> list[str]:
    report, scores = run.report, run.report.scores
    name = _text(run.label) + marked(report.device)
    counts = [str(report.classes[c.value]) for c in OutcomeClass]
    if scores is None:
        return [name, "incomplete: no score", *counts, "", "", "", "", "", ""]
    headline = ""
    if scores.headline:
        headline = f"**{scores.headline.score}** {_text(scores.headline.profile)}"
    grades = ", ".join(f"{count} {grade}" for grade, count in scores.grades.items() if count)
    return [
        name,
        headline,
        *counts,
        *map(str, (scores.cases, scores.cells, scores.operators_any, scores.operators_all)),
        str(scores.usage or ""),
        grades,
    ]


def _profiles(runs: Sequence[Run]) -> list[str]:
    rows = [row for row in score_rows([run.report for run in runs]) if row.profile]
    if not rows:
        return []
    lines = ["", _line(["cells of profile", *(_text(run.label) for run in runs)])]
    lines.append(_line("---" for _ in range(len(runs) + 1)))
    for row in rows:
        of_contract = f" (of {row.of_contract})" if row.of_contract else ""
        lines.append(_line([_text(row.profile) + of_contract, *(str(s or "") for s in row.scores)]))
    return lines


def _deep(label: str, deep: DeepReport) -> str:
    lines = [f"{_text(label)}: {_text(deep.summary)}.", ""]
    if deep.failures:
        lines += [_line(["minimal case", "outcome", "reason"]), _line("---" for _ in range(3))]
    for result in deep.failures:
        reason = textwrap.shorten(result.reason, _REASON, placeholder=" …")
        lines.append(_line([_text(result.id), result.outcome.value, _text(reason)]))
    return "\n".join(lines) + "\n"


def _speed(runs: Sequence[Run]) -> str:
    """A row a device, then the operators of which models have most nodes."""
    columns = ["device", "operators timed", "matmul ceiling", "copy ceiling"]
    columns += ["median share of the ceiling", "times the reference"]
    lines = [_line(columns), _line("---" for _ in columns)]
    sections = [run.report.speed for run in runs if run.report.speed]
    for run, speed in zip(runs, sections, strict=True):
        timed, asked = ({e.operator for e in es} for es in (speed.timed, speed.entries))
        against = f" {_text(speed.reference)}" if speed.reference else ""
        lines.append(
            _line(
                [
                    _text(run.label) + marked(run.report.device),
                    f"{len(timed)} of {len(asked)}",
                    amount(speed.ceiling("matmul"), "FLOP/s"),
                    amount(speed.ceiling("copy"), "B/s"),
                    percent(fraction_of_ceiling(speed)),
                    ratio(times_reference(speed)) + against,
                ]
            )
        )
    rows = sorted(speed_rows(sections), key=lambda row: -row.nodes)[:_SPEEDS]
    lines += ["", _line(["operator", "reads", *(_text(run.label) for run in runs)])]
    lines += [_line("---" for _ in range(2 + len(runs)))]
    for row in rows:
        cells = [_speed_cell(cell) for cell in row.cells]
        lines.append(_line([row.operator, _text(row.shape), *cells]))
    lines += ["", "Time, share of the nearer ceiling of that device, and times the reference."]
    return "\n".join(lines) + "\n"


def _speed_cell(cell: SpeedCell | None) -> str:
    if cell is None or not cell.time:
        return ""
    return ", ".join(filter(None, (cell.time, cell.of_ceiling, cell.times)))


def _made_with(report: DeviceReport) -> str:
    """The versions, and the report's notes: among them the tolerance, if it is not the suite's."""
    versions = report.device.versions or report.environment.packages
    listed = ", ".join(f"{name} {text}" for name, text in versions.items()) or "versions unknown"
    return _text("; ".join((listed, *report.notes)))


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _text(text: str) -> str:
    """Text that Markdown takes for nothing but text, on one line; half a surrogate pair is none."""
    text = text.encode("utf-8", "replace").decode("utf-8")
    return re.sub(r"([\\`*_\[\]<>|~])", r"\\\1", " ".join(text.split()))
