"""What changed between two conformance reports."""

from __future__ import annotations

import collections
import dataclasses
import statistics
from collections.abc import Mapping, Sequence

from hal import Outcome
from hal.errors import DataError, UsageError, did_you_mean
from hal_conformance.compare_speed import SpeedComparison, compare_speed
from hal_conformance.report import CaseResult, DeviceReport, Report, Score, Scores

__all__ = [
    "MIN_CASES",
    "MIN_SECONDS",
    "NOISE",
    "CaseChange",
    "Comparison",
    "DeviceComparison",
    "ScoreChange",
    "SpeedChange",
    "compare_reports",
]

NOISE = 1.12
"""The largest ratio between three identical sessions, timed in blocks: docs/reading-a-score.md."""
MIN_SECONDS = 200e-6
"""A case that is faster than this in both reports says nothing about an operator's speed."""
MIN_CASES = 3
"""An operator's speed is judged over at least so many cases: each was timed only once."""

_NO_VERDICT = (Outcome.DISPUTED, Outcome.NOT_RUN)


@dataclasses.dataclass(frozen=True)
class CaseChange:
    """A case whose outcome is another one; `reason` is the new report's."""

    id: str
    old: Outcome
    new: Outcome
    reason: str = ""


@dataclasses.dataclass(frozen=True)
class ScoreChange:
    """A score then and now; None where an incomplete report has none."""

    name: str
    old: Score | None
    new: Score | None


@dataclasses.dataclass(frozen=True)
class SpeedChange:
    """An operator's speed: `ratio` is the median, over `cases` single-operator cases that pass in
    both reports, of the new time over the old."""

    operator: str
    ratio: float
    cases: int


@dataclasses.dataclass(frozen=True)
class DeviceComparison:
    """One device then and now. `changed` are cases that pass in neither report or have no verdict
    in one; `added` and `removed` are ids that only one report has."""

    old_device: str
    new_device: str
    scores: tuple[ScoreChange, ...]
    newly_passing: tuple[CaseChange, ...]
    newly_failing: tuple[CaseChange, ...]
    changed: tuple[CaseChange, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]
    slower: tuple[SpeedChange, ...]
    faster: tuple[SpeedChange, ...]
    notes: tuple[str, ...]
    speed: SpeedComparison | None = None
    """Of what --speed measured in both."""

    @property
    def regression(self) -> bool:
        """Whether something that passed no longer does, or a case is gone."""
        return bool(self.newly_failing or self.removed)


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Two reports. `only_old` and `only_new` are devices that the other report lacks."""

    devices: tuple[DeviceComparison, ...]
    only_old: tuple[str, ...] = ()
    only_new: tuple[str, ...] = ()

    @property
    def regression(self) -> bool:
        """Whether a device has a regression, or is gone."""
        return bool(self.only_old) or any(d.regression for d in self.devices)


def compare_reports(
    old: Report,
    new: Report,
    *,
    devices: Sequence[str] = (),
    noise: float = NOISE,
    allow_incomplete: bool = False,
) -> Comparison:
    """Compare two reports, device by device.

    `devices`: only these ids; "A=B" sets the old report's A against the new report's B. `noise`: a
    ratio of times has to be beyond it. Raises UsageError for a device that a report lacks, and
    DataError for an incomplete report unless `allow_incomplete`: then only cases that ran in both
    are compared.
    """
    was = {r.device.id: r for r in old.reports}
    now = {r.device.id: r for r in new.reports}
    pairs = [_pair(text, was, now) for text in devices] or [(i, i) for i in was if i in now]
    if not pairs:
        raise UsageError(
            f"the reports have no device in common: {_list(was)} then, {_list(now)} now",
            next_step="hal compare --device OLD_ID=NEW_ID OLD.json NEW.json",
        )
    for which, reports, index in (("old", was, 0), ("new", now, 1)):
        for pair in pairs:
            report = reports[pair[index]]
            if not report.complete and not allow_incomplete:
                raise DataError(
                    f"the {which} report of {report.device.id} is incomplete",
                    next_step="run it to its end (hal conformance --resume), "
                    "or give --allow-incomplete to compare what ran",
                )
    compared = tuple(_compare(was[a], now[b], noise) for a, b in pairs)
    if devices:
        return Comparison(compared)
    return Comparison(
        compared, tuple(i for i in was if i not in now), tuple(i for i in now if i not in was)
    )


def _pair(
    text: str, was: Mapping[str, DeviceReport], now: Mapping[str, DeviceReport]
) -> tuple[str, str]:
    old_id, equals, new_id = text.partition("=")
    pair = (old_id, new_id if equals else old_id)
    for which, reports, device_id in (("old", was, pair[0]), ("new", now, pair[1])):
        if device_id not in reports:
            raise UsageError(
                f"the {which} report has no device {device_id!r}, but {_list(reports)}."
                f"{did_you_mean(device_id, reports)}"
            )
    return pair


def _compare(old: DeviceReport, new: DeviceReport, noise: float) -> DeviceComparison:
    was = {r.id: r for r in old.cases}
    now = {r.id: r for r in new.cases}
    passing, failing, changed = [], [], []
    for case_id, before in was.items():
        after = now.get(case_id)
        if after is None or Outcome.NOT_RUN in (before.outcome, after.outcome):
            continue
        if before.outcome is after.outcome:
            continue
        change = CaseChange(case_id, before.outcome, after.outcome, after.reason)
        if before.outcome in _NO_VERDICT or after.outcome in _NO_VERDICT:
            changed.append(change)
        elif after.outcome is Outcome.PASS:
            passing.append(change)
        elif before.outcome is Outcome.PASS:
            failing.append(change)
        else:
            changed.append(change)
    same_selection = old.selection == new.selection
    slower, faster = _speeds(old, new, was, now, noise)
    return DeviceComparison(
        old_device=old.device.id,
        new_device=new.device.id,
        scores=_scores(old.scores, new.scores) if same_selection else (),
        newly_passing=tuple(passing),
        newly_failing=tuple(failing),
        changed=tuple(changed),
        added=tuple(i for i in now if i not in was) if same_selection else (),
        removed=tuple(i for i in was if i not in now) if same_selection else (),
        slower=slower,
        faster=faster,
        notes=_notes(old, new),
        speed=compare_speed(old.speed, new.speed, noise),
    )


def _scores(old: Scores | None, new: Scores | None) -> tuple[ScoreChange, ...]:
    changes = [
        ScoreChange(n, getattr(old, n) if old else None, getattr(new, n) if new else None)
        for n in ("cases", "cells", "operators_any", "operators_all")
    ]
    then, now = old and old.headline, new and new.headline
    if then and now and then.profile == now.profile:
        changes.insert(0, ScoreChange(f"headline ({then.profile})", then.score, now.score))
    return tuple(changes)


def _speeds(
    old: DeviceReport,
    new: DeviceReport,
    was: Mapping[str, CaseResult],
    now: Mapping[str, CaseResult],
    noise: float,
) -> tuple[tuple[SpeedChange, ...], tuple[SpeedChange, ...]]:
    if old.device.emulated or new.device.emulated:
        return (), ()
    ratios: dict[str, list[float]] = collections.defaultdict(list)
    for case_id, before in was.items():
        after = now.get(case_id)
        if after is None or len(before.operators) != 1:
            continue
        if before.outcome is not Outcome.PASS or after.outcome is not Outcome.PASS:
            continue
        if max(before.seconds, after.seconds) >= MIN_SECONDS and before.seconds > 0:
            ratios[before.operators[0]].append(after.seconds / before.seconds)
    changes = [
        SpeedChange(name, statistics.median(values), len(values))
        for name, values in ratios.items()
        if len(values) >= MIN_CASES
    ]
    changes.sort(key=lambda c: (-c.ratio, c.operator))
    slower = tuple(c for c in changes if c.ratio > noise)
    faster = tuple(c for c in reversed(changes) if c.ratio < 1 / noise)
    return slower, faster


def _notes(old: DeviceReport, new: DeviceReport) -> tuple[str, ...]:
    notes = []
    for which, report in (("old", old), ("new", new)):
        if not report.complete:
            notes.append(f"the {which} report is incomplete: only cases that ran are compared")
    if old.selection != new.selection:
        notes.append("other cases were selected: only those in both are compared, and no scores")
    if old.contract != new.contract:
        notes.append(
            f"the contract changed (onnx {old.contract.onnx} then, {new.contract.onnx} now), and "
            "with it the denominators"
        )
    for name in sorted({*old.device.versions, *new.device.versions}):
        then, today = old.device.versions.get(name, "none"), new.device.versions.get(name, "none")
        if then != today:
            notes.append(f"{name} {then} then, {today} now")
    if old.device.precision != new.device.precision:
        then, today = (d.device.precision or "float32" for d in (old, new))
        notes.append(f"judged by the tolerance of {then} then, of {today} now")
    if old.device.emulated or new.device.emulated:
        notes.append("an emulated device's times are not compared")
    elif (old.environment.platform, old.limits.jobs) != (new.environment.platform, new.limits.jobs):
        notes.append("another platform or number of jobs: the times are hardly comparable")
    return tuple(notes)


def _list(names: Mapping[str, object]) -> str:
    return ", ".join(names) or "none"
