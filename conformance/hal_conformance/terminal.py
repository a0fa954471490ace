"""What a person sees: a bar while a device is measured, then tables: a row a device, the scores,
and the worst operators."""

from __future__ import annotations

import collections
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from hal import Device, OutcomeClass
from hal.cli._output import table
from hal_conformance.precision import marked
from hal_conformance.report import CaseResult, DeviceReport, OperatorSummary
from hal_conformance.scoring import worst_operators
from hal_conformance.side_by_side import ScoreRow, score_rows

__all__ = ["Terminal"]

_STYLES = {
    OutcomeClass.RIGHT: "green",
    OutcomeClass.WRONG: "red",
    OutcomeClass.NOT_HERE: "yellow",
    OutcomeClass.BROKEN: "magenta",
    OutcomeClass.OPEN: "dim",
}
_WORST = 8
_REASON_WIDTH = 110  # characters; the JSON report has the whole of it


class Terminal:
    """Results go to `out`, progress and notes to `err`."""

    def __init__(self, out: Console, err: Console) -> None:
        self.out, self.err = out, err

    def note(self, text: str) -> None:
        self.err.print(Text(text))

    def status(self, text: str) -> AbstractContextManager[object]:
        return self.err.status(text)

    @contextmanager
    def progress(self, device: Device, total: int) -> Iterator[CaseProgress]:
        """A progress bar with the counts of each class; silent where there is no terminal."""
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TextColumn("{task.fields[counts]}"),
            TimeElapsedColumn(),
        )
        with Progress(
            *columns, console=self.err, transient=True, disable=not self.err.is_terminal
        ) as bar:
            yield CaseProgress(bar, bar.add_task(device.id, total=total, counts=""))

    @contextmanager
    def bar(self, text: str, total: int) -> Iterator[Callable[[object], None]]:
        """A progress bar; what it yields is called once a step. Silent where there is no
        terminal."""
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        with Progress(
            *columns,
            TimeElapsedColumn(),
            console=self.err,
            transient=True,
            disable=not self.err.is_terminal,
        ) as bar:
            task = bar.add_task(text, total=total)
            yield lambda step: bar.advance(task)

    def show(self, reports: Sequence[DeviceReport]) -> None:
        """One row a device, then each device's worst operators with their reasons."""
        if not reports:
            self.out.print(Text("No device is ready. Next: hal devices"))
            return
        classes = [c.value for c in OutcomeClass]
        columns = ("device", "headline", "profile", *classes, "evidence", "time")
        self.out.print(table(columns, [_row(r) for r in reports]))
        complete = [r for r in reports if r.scores]
        if complete:
            cells = f"cells of {complete[0].scores.cells.of_contract}"  # type: ignore[union-attr]
            columns = ("device", "cases", cells, "operators, any case", "operators, all cases")
            columns += ("nodes of real models",)
            self.out.print(table(columns, [_score_row(r) for r in complete]))
        rows = [_profile_row(row) for row in score_rows(complete) if row.profile]
        if rows:
            columns = ("profile", *(r.device.id for r in complete), "not asked")
            self.out.print(table(columns, rows, title="cells by profile"))
        for report in complete:
            if report.scores and report.scores.groups:
                columns = ("part", "cases", "operators, any case", "operators, all cases")
                rows = [
                    (g.name, str(g.cases), str(g.operators_any), str(g.operators_all))
                    for g in report.scores.groups
                ]
                self.out.print(table(columns, rows, title=f"{report.device.id}: parts"))
        for report in reports:
            worst = worst_operators(report, _WORST)
            if worst:
                self.out.print(
                    table(
                        ("operator", "passed", "what happened first"),
                        [_operator_row(o) for o in worst],
                        title=f"{report.device.id}: worst operators",
                    )
                )
            for note in report.notes:
                self.note(f"{report.device.id}: {note}")


class CaseProgress:
    """Counts results as they come; call it with each one."""

    def __init__(self, bar: Progress, task: TaskID) -> None:
        self._bar, self._task = bar, task
        self._counts: collections.Counter[OutcomeClass] = collections.Counter()

    def __call__(self, result: CaseResult) -> None:
        self._counts[result.outcome.outcome_class] += 1
        counts = "  ".join(
            f"[{_STYLES[c]}]{self._counts[c]} {c.value}[/]" for c in OutcomeClass if self._counts[c]
        )
        self._bar.update(self._task, advance=1, counts=counts)


def _row(report: DeviceReport) -> tuple[str, ...]:
    name = report.device.id + marked(report.device)
    counts = (str(report.classes[c.value]) for c in OutcomeClass)
    time = f"{report.wall_seconds:.1f} s"
    if report.scores is None:
        return (name, "incomplete: no score", "", *counts, "", time)
    headline = report.scores.headline
    score, profile = ("", "") if headline is None else (str(headline.score), headline.profile)
    grades = report.scores.grades.items()
    evidence = ", ".join(f"{count} {grade}" for grade, count in grades if count)
    return (name, score, profile, *counts, evidence, time)


def _score_row(report: DeviceReport) -> tuple[str, ...]:
    scores = report.scores
    if scores is None:
        return (report.device.id,)
    each = (scores.cases, scores.cells, scores.operators_any, scores.operators_all)
    return (report.device.id, *map(str, each), str(scores.usage or ""))


def _profile_row(row: ScoreRow) -> tuple[str, ...]:
    """ "212/214" for each device, and how many cells of the profile no case exercises."""
    cells = [s for s in row.scores if s is not None]
    left = dict.fromkeys((s.of_contract or s.total) - s.total for s in cells)
    shown = ["" if s is None else f"{s.passed}/{s.total}" for s in row.scores]
    return row.profile, *shown, ", ".join(map(str, left))


def _operator_row(operator: OperatorSummary) -> tuple[str, str, str]:
    reason = operator.reasons[0] if operator.reasons else ""
    short = textwrap.shorten(reason, _REASON_WIDTH, placeholder=" …")
    return operator.operator, f"{operator.passed}/{operator.total}", short
