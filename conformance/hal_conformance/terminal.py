"""What a person sees: a bar while a device is measured, then tables: a row a device, the scores,
and the worst operators."""

from __future__ import annotations

import collections
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from hal import Device, OutcomeClass
from hal.cli._output import table
from hal_conformance.report import CaseResult, DeviceReport, OperatorSummary
from hal_conformance.scoring import worst_operators

__all__ = ["Terminal"]

_STYLES = {
    OutcomeClass.RIGHT: "green",
    OutcomeClass.WRONG: "red",
    OutcomeClass.NOT_HERE: "yellow",
    OutcomeClass.BROKEN: "magenta",
    OutcomeClass.OPEN: "dim",
}
_WORST = 8


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

    def show(self, reports: Sequence[DeviceReport]) -> None:
        """One row a device, then each device's worst operators with their reasons."""
        if not reports:
            self.out.print(Text("No device is ready. Next: hal devices"))
            return
        columns = ("device", "cases passed", *(c.value for c in OutcomeClass), "evidence", "time")
        self.out.print(table(columns, [_row(r) for r in reports]))
        rows = [row for r in reports for row in _score_rows(r)]
        if rows:
            self.out.print(table(("device", "score", "passed", "over"), rows))
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
    name = report.device.id + (" (emulated)" if report.device.emulated else "")
    scores = report.scores
    passed = str(scores.cases) if scores else "incomplete: no score"
    evidence = ""
    if scores:
        evidence = ", ".join(f"{count} {grade}" for grade, count in scores.grades.items() if count)
    counts = (str(report.classes[c.value]) for c in OutcomeClass)
    return (name, passed, *counts, evidence, _seconds(report.wall_seconds))


def _score_rows(report: DeviceReport) -> list[tuple[str, str, str, str]]:
    scores = report.scores
    if scores is None:
        return []
    cells = f"cells that these cases exercise, of {scores.cells.of_contract} in the contract"
    rows = [
        ("cells", str(scores.cells), cells),
        ("operators, any case", str(scores.operators_any), "operators with a case of their own"),
        ("operators, all cases", str(scores.operators_all), "operators with a case of their own"),
    ]
    if scores.headline:
        profile = scores.headline.profile
        rows.insert(0, ("headline", str(scores.headline.score), f"cases of profile {profile}"))
    return [(report.device.id, *row) for row in rows]


def _operator_row(operator: OperatorSummary) -> tuple[str, str, str]:
    reason = operator.reasons[0] if operator.reasons else ""
    return operator.operator, f"{operator.passed}/{operator.total}", reason


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s"
