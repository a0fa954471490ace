"""Results against a backend's expectations: the mark of each case, and what makes the run red."""

from __future__ import annotations

import collections
import dataclasses
import fnmatch
from collections.abc import Collection, Sequence
from typing import Literal

from hal import Device, Outcome
from hal_conformance.case import SUITES
from hal_conformance.expectations import Expectation, Expectations
from hal_conformance.report import CaseResult

__all__ = ["Judgement", "Violation", "judge"]

_SAID_BY_ITSELF = (Outcome.UNSUPPORTED, Outcome.SKEW, Outcome.UNFED)
_NO_VERDICT = (Outcome.DISPUTED, Outcome.NOT_RUN)
_SHOWN = 3


@dataclasses.dataclass(frozen=True)
class Violation:
    """Something that makes a run red.

    `stale`: every case of the line passes. `no-match`: no case fits the pattern. `uncovered`: cases
    of the line fail in another way than it says. `version`: the device does not report a version
    that the line asks for. `unlisted`: a strict file has no line for these failures.
    """

    kind: Literal["stale", "no-match", "uncovered", "version", "unlisted"]
    message: str
    cases: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Judgement:
    """The results with their `expected` marks, and the violations; none: the run is not red."""

    results: tuple[CaseResult, ...]
    violations: tuple[Violation, ...]


def judge(
    expectations: Expectations | None,
    results: Sequence[CaseResult],
    device: Device,
    *,
    suite_cases: Collection[str],
    suites: Collection[str] = (),
) -> Judgement:
    """Judge one device's results. `suite_cases` are the ids of all cases of the suites that ran,
    selected or not; `suites` names those that exist beside HAL's own.

    A line is stale when every case of the suite that it matches has run and passes. That a pattern
    matches nothing counts only when all of `suite_cases` have run. Without a file (None) nothing is
    unexpected.
    """
    if expectations is None:
        return Judgement(tuple(results), ())
    return _Judge(expectations, results, device, frozenset(suite_cases), suites).judge()


class _Judge:
    def __init__(
        self,
        expectations: Expectations,
        results: Sequence[CaseResult],
        device: Device,
        suite_cases: frozenset[str],
        suites: Collection[str],
    ) -> None:
        self.expectations, self.results = expectations, results
        self.device, self.suite_cases = device, suite_cases
        self.ran = {r.id: r for r in results if r.outcome not in _NO_VERDICT}
        run_or_disputed = {r.id for r in results if r.outcome is not Outcome.NOT_RUN}
        self.unknown = suite_cases - run_or_disputed
        self.known_suites = {*SUITES, *suites}
        self.suites = {case_id.partition("/")[0] for case_id in suite_cases}
        self.lines_of: dict[str, list[Expectation]] = collections.defaultdict(list)
        self.stale: set[str] = set()
        self.violations: list[Violation] = []

    def judge(self) -> Judgement:
        for line in self.expectations.lines:
            if not fnmatch.fnmatchcase(self.device.id, line.device):
                continue
            missing = line.missing_versions(self.device.versions)
            if missing:
                self._violate("version", line, self._no_version(missing))
            elif line.applies_to(self.device.id, self.device.versions):
                self._judge_line(line)
        self._find_uncovered()
        if self.expectations.strict:
            self._find_unlisted()
        unexpected = {i for v in self.violations if v.kind != "stale" for i in v.cases}
        marked = tuple(
            dataclasses.replace(r, expected=self._mark(r, unexpected)) for r in self.results
        )
        return Judgement(marked, tuple(self.violations))

    def _judge_line(self, line: Expectation) -> None:
        matched = line.matches(self.suite_cases)
        for case_id in matched:
            self.lines_of[case_id].append(line)
        if not matched:
            if not self.unknown and self._of_these_suites(line.pattern):
                self._violate("no-match", line, "no case fits the pattern")
            return
        ran = [case_id for case_id in matched if case_id in self.ran]
        if matched & self.unknown or not ran:
            return
        if all(self.ran[i].outcome is Outcome.PASS for i in ran):
            self.stale.update(ran)
            count = "its case passes" if len(ran) == 1 else f"all of its {len(ran)} cases pass"
            self._violate("stale", line, f"{count}: remove the line", tuple(sorted(ran)))

    def _of_these_suites(self, pattern: str) -> bool:
        """Whether a pattern that fits nothing should have: one of a suite that did not run cannot.
        A name in front that is no suite at all is a slip."""
        suite, slash, _ = pattern.partition("/")
        if not slash or suite not in self.known_suites:
            return True
        return suite in self.suites

    def _find_uncovered(self) -> None:
        by_line: dict[int, list[CaseResult]] = collections.defaultdict(list)
        known: dict[int, Expectation] = {}
        for result in self.results:
            lines = self.lines_of.get(result.id, [])
            if not lines or not _is_failure(result) or any(n.covers(result.outcome) for n in lines):
                continue
            by_line[id(lines[0])].append(result)
            known[id(lines[0])] = lines[0]
        for key, results in by_line.items():
            line = known[key]
            wanted = line.outcome.value if line.outcome else line.status
            self._violate(
                "uncovered",
                line,
                f"listed as {wanted}, but {_describe(results)}",
                tuple(r.id for r in results),
            )

    def _find_unlisted(self) -> None:
        failures = [
            r
            for r in self.results
            if _is_failure(r) and r.outcome not in _SAID_BY_ITSELF and not self.lines_of.get(r.id)
        ]
        if failures:
            text = f"{self.expectations.source}: no line lists that {_describe(failures)}"
            ids = tuple(r.id for r in failures)
            self.violations.append(Violation("unlisted", text, ids))

    def _mark(self, result: CaseResult, unexpected: Collection[str]) -> str:
        if result.outcome in _NO_VERDICT:
            return ""
        if result.outcome is Outcome.PASS:
            return "stale" if result.id in self.stale else ""
        lines = self.lines_of.get(result.id, ())
        covering = next((n for n in lines if n.covers(result.outcome)), None)
        if covering is not None:
            return covering.status
        return "unexpected" if result.id in unexpected else ""

    def _no_version(self, missing: Sequence[str]) -> str:
        reported = ", ".join(self.device.versions) or "none"
        names = " and ".join(missing)
        return f"{self.device.id} reports no version of {names} (it reports: {reported})"

    def _violate(
        self,
        kind: Literal["stale", "no-match", "uncovered", "version"],
        line: Expectation,
        text: str,
        cases: tuple[str, ...] = (),
    ) -> None:
        where = f"{self.expectations.source}: pattern {line.pattern!r}"
        self.violations.append(Violation(kind, f"{where}: {text}", cases))


def _is_failure(result: CaseResult) -> bool:
    return result.outcome is not Outcome.PASS and result.outcome not in _NO_VERDICT


def _describe(results: Sequence[CaseResult]) -> str:
    shown = ", ".join(f"{r.id} is {r.outcome.value}" for r in results[:_SHOWN])
    more = len(results) - _SHOWN
    return f"{shown} and {more} more fail" if more > 0 else shown
