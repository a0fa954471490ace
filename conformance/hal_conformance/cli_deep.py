"""The part of `hal conformance` that goes deeper: `--depth deep`."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from hal.cli._output import table
from hal.errors import UsageError
from hal.plugins import Registry
from hal_conformance.report import DeviceReport
from hal_conformance.session import Plan, options_of
from hal_conformance.terminal import Terminal

if TYPE_CHECKING:
    from hal_conformance.deep.makers import Target

__all__ = ["check_depth", "deep_targets", "deepen", "show_deep"]

_SHOWN = 20
_REASON_WIDTH = 110


def check_depth(depth: str, suite: str) -> bool:
    """Whether to go deep. Raises UsageError for another depth, or a suite that has none."""
    if depth not in ("default", "deep"):
        raise UsageError(f"there is no depth {depth!r}", next_step="--depth default or deep")
    if depth == "deep" and suite != "contract":
        raise UsageError(
            f"the suite {suite} has no depth but the default one",
            next_step="hal conformance --suite contract --depth deep",
        )
    return depth == "deep"


def deep_targets(plan: Plan) -> list[Target]:
    """What is searched. Raises UsageError when that is nothing, AbsentError without Hypothesis."""
    from hal_conformance.deep.search import chosen_targets, require_hypothesis

    require_hypothesis()
    chosen = chosen_targets(plan.cases)
    if not chosen:
        names = sorted({c.single_operator for c in plan.cases if c.single_operator})
        of = ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")
        raise UsageError(
            f"--depth deep has no cases to draw of {of or 'what is chosen'}",
            next_step="hal conformance --suite contract --depth deep -k contract/Conv-",
        )
    return chosen


def deepen(
    registry: Registry,
    reports: Sequence[DeviceReport],
    plan: Plan,
    terminal: Terminal,
    chosen: Sequence[Target],
    draws: int,
) -> list[DeviceReport]:
    """The reports, each with what the search on its device found; as they are after Ctrl-C."""
    from hal_conformance.deep.run import run_deep  # imports onnx

    deeper: list[DeviceReport] = []
    for report in reports:
        stopped = not report.complete or any(r.deep and not r.deep.complete for r in deeper)
        if not stopped:
            options = options_of(registry.backends[report.device.backend].spec, plan)
            with terminal.bar(f"{report.device.id}: deep", len(chosen)) as advance:
                deep = run_deep(
                    registry, report.device, chosen, plan.limits, options, draws, advance
                )
            report = dataclasses.replace(report, deep=deep)
        deeper.append(report)
    return deeper


def show_deep(terminal: Terminal, reports: Sequence[DeviceReport]) -> None:
    """Print what was found, apart from the scores."""
    for report in reports:
        if report.deep is None:
            continue
        terminal.out.print(Text(f"{report.device.id}: {report.deep.summary}"))
        rows = [
            (r.id, r.outcome.value, textwrap.shorten(r.reason, _REASON_WIDTH, placeholder=" …"))
            for r in report.deep.failures[:_SHOWN]
        ]
        if rows:
            terminal.out.print(table(("id", "outcome", "reason"), rows))
        more = len(report.deep.failures) - len(rows)
        if more:
            terminal.out.print(Text(f"and {more} more: --json FILE has them all"))
        for note in report.deep.notes:
            terminal.note(f"{report.device.id}: {note}")
