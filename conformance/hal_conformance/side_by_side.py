"""Device reports of one or several files set side by side, each with a label of its own."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from hal_conformance.report import DeviceReport, Report, Score, Scores

__all__ = ["Run", "ScoreRow", "differences", "line_up", "score_rows"]


@dataclasses.dataclass(frozen=True)
class Run:
    """One device's report under a label that no other run of the page has."""

    label: str
    report: DeviceReport

    @property
    def suite(self) -> str:
        return self.report.selection.suite


@dataclasses.dataclass(frozen=True)
class ScoreRow:
    """One score of several reports, None for a report that has none. `profile` names the profile
    whose cells it counts; `of_contract` is how many there are of what it counts, exercised or not,
    where that is known and the same for all."""

    name: str
    scores: tuple[Score | None, ...]
    profile: str = ""

    @property
    def of_contract(self) -> int | None:
        sizes = {s.of_contract for s in self.scores if s is not None}
        return sizes.pop() if len(sizes) == 1 else None


def score_rows(reports: Sequence[DeviceReport]) -> tuple[ScoreRow, ...]:
    """Every score but the headline, that any of these reports has, in their order."""
    taken: dict[str, Callable[[Scores], Score | None]] = {
        "cases": lambda s: s.cases,
        "cells": lambda s: s.cells,
        "operators, any case": lambda s: s.operators_any,
        "operators, all cases": lambda s: s.operators_all,
        "nodes of real models": lambda s: s.usage,
    }
    rows = [
        ScoreRow(name, tuple(take(r.scores) if r.scores else None for r in reports))
        for name, take in taken.items()
    ]
    cells = [{p.profile: p.cells for p in r.scores.profiles} if r.scores else {} for r in reports]
    for profile in dict.fromkeys(name for own in cells for name in own):
        name = f"cells, {profile}"
        rows.append(ScoreRow(name, tuple(own.get(profile) for own in cells), profile))
    return tuple(row for row in rows if any(row.scores))


def line_up(reports: Iterable[tuple[str, Report]]) -> tuple[Run, ...]:
    """The runs of several reports, each given with the name of its file ("" for none).

    A run is called by its device; where that is not enough, by its suite too, then by its versions,
    by the file's name and at last by a number.
    """
    found = [(name, one) for name, report in reports for one in report.reports]
    labels = [one.device.id for _, one in found]
    more: Sequence[Callable[[str, DeviceReport], str]] = (
        lambda name, one: one.selection.suite,
        lambda name, one: " ".join(one.device.versions.values()),
        lambda name, one: Path(name).stem,
    )
    for detail in more:
        labels = _told_apart(labels, [detail(name, one) for name, one in found])
    labels = _told_apart(labels, [f"no. {i}" for i in range(1, len(found) + 1)])
    return tuple(Run(label, one) for label, (_, one) in zip(labels, found, strict=True))


def differences(runs: Sequence[Run]) -> tuple[str, ...]:
    """Why the scores of these runs do not compare, one line each; none: they do."""
    facts: dict[str, Callable[[DeviceReport], str]] = {
        "suites": lambda r: r.selection.suite,
        "selections": lambda r: " ".join(filter(None, (r.selection.profile, r.selection.pattern))),
        "contracts": lambda r: f"{r.contract.version} (onnx {r.contract.onnx})",
    }
    lines = []
    for what, fact in facts.items():
        values = dict.fromkeys(fact(run.report) or "everything" for run in runs)
        if len(values) > 1:
            lines.append(f"other {what}, so the scores do not compare: {', '.join(values)}")
    return tuple(lines)


def _told_apart(labels: Sequence[str], details: Sequence[str]) -> list[str]:
    """The labels; those that several runs have get their detail, if the details differ."""
    by_label: dict[str, list[str]] = collections.defaultdict(list)
    for label, detail in zip(labels, details, strict=True):
        by_label[label].append(detail)
    return [
        f"{label} ({detail})" if len(set(by_label[label])) > 1 and detail else label
        for label, detail in zip(labels, details, strict=True)
    ]
