"""From outcomes to scores: fractions with their denominators, and a summary per operator.

What counts in which denominator stands in docs/reading-a-score.md.
"""

from __future__ import annotations

import collections
import dataclasses
import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Protocol

from hal import Device, Evidence, Outcome, OutcomeClass
from hal.errors import UsageError, did_you_mean
from hal_conformance.report import (
    CaseResult,
    ContractInfo,
    DeviceReport,
    Environment,
    GroupScore,
    Headline,
    Limits,
    OperatorSummary,
    Score,
    Scores,
    Selection,
)
from hal_conformance.scoring_shares import profile_scores, usage_score

__all__ = [
    "Facts",
    "Gate",
    "Profile",
    "build_report",
    "compute_scores",
    "count_classes",
    "count_outcomes",
    "evidence",
    "summarize_operators",
    "worst_operators",
]

_SEVERITY = (OutcomeClass.WRONG, OutcomeClass.BROKEN, OutcomeClass.NOT_HERE)
_OUTSIDE = (Outcome.DISPUTED, Outcome.NOT_RUN)
_MAX_REASONS = 3
_MAX_REASON_LENGTH = 200


class Facts(Protocol):
    """What scoring reads of a case; `hal_conformance.case.CaseFacts` has it."""

    @property
    def id(self) -> str: ...
    @property
    def operators(self) -> tuple[str, ...]: ...
    @property
    def cells(self) -> tuple[str, ...]: ...
    @property
    def single_operator(self) -> str: ...
    @property
    def expanded(self) -> bool: ...


@dataclasses.dataclass(frozen=True)
class Profile:
    """A profile and the ids of all cases of the suite that belong to it."""

    name: str
    cases: Collection[str]


def compute_scores(
    cases: Iterable[Facts],
    results: Sequence[CaseResult],
    *,
    contract_cells: int,
    profile: Profile | None = None,
    groups: Mapping[str, Collection[str]] | None = None,
) -> Scores:
    """The scores of a complete run.

    `cases` and `results` name the same cases, in any order. `contract_cells` is how many cells the
    contract has. There is no headline unless every case of `profile` is among the results.
    `groups` has the case ids of the parts of the suite that get scores of their own; one of which
    no case was run is left out. Raises
    ValueError when the two do not match, and for a case that has not run: part of a run is no
    score.
    """
    facts = _by_id(cases, results)
    missing = sum(r.outcome is Outcome.NOT_RUN for r in results)
    if missing:
        raise ValueError(f"{missing} cases have not run: an incomplete run has no score")
    counted = {r.id: r.outcome is Outcome.PASS for r in results if r.outcome not in _OUTSIDE}

    by_cell: dict[str, list[bool]] = collections.defaultdict(list)
    for case_id, passed in counted.items():
        for cell in facts[case_id].cells:
            by_cell[cell].append(passed)
    by_operator = _by_operator(facts, counted)

    grades = dict.fromkeys((e.value for e in Evidence), 0)
    for result in results:
        if result.outcome is Outcome.PASS:
            grade = result.evidence if result.evidence in grades else Evidence.DECLARED.value
            grades[grade] += 1
    return Scores(
        cases=_score(counted.values()),
        cells=_score(map(all, by_cell.values()), of_contract=contract_cells),
        operators_any=_score(map(any, by_operator.values())),
        operators_all=_score(map(all, by_operator.values())),
        grades=grades,
        headline=_headline(profile, facts, counted),
        disputed=tuple(r.id for r in results if r.outcome is Outcome.DISPUTED),
        groups=tuple(_groups(groups or {}, facts, counted)),
        usage=usage_score(by_operator),
        profiles=profile_scores(by_cell),
    )


def count_outcomes(results: Iterable[CaseResult]) -> dict[str, int]:
    """Cases by outcome, every outcome present."""
    counts = collections.Counter(r.outcome for r in results)
    return {outcome.value: counts[outcome] for outcome in Outcome}


def count_classes(results: Iterable[CaseResult]) -> dict[str, int]:
    """Cases by class of outcome, every class present."""
    counts = collections.Counter(r.outcome.outcome_class for r in results)
    return {c.value: counts[c] for c in OutcomeClass}


def summarize_operators(
    cases: Iterable[Facts], results: Sequence[CaseResult]
) -> tuple[OperatorSummary, ...]:
    """A summary per operator, by name; disputed cases and those that have not run are left out."""
    facts = _by_id(cases, results)
    single: dict[str, list[CaseResult]] = collections.defaultdict(list)
    within: dict[str, list[CaseResult]] = collections.defaultdict(list)
    for result in results:
        if result.outcome in _OUTSIDE:
            continue
        case = facts[result.id]
        if case.single_operator and not case.expanded:
            single[case.single_operator].append(result)
        for operator in case.operators:
            within[operator].append(result)
    names = sorted({*single, *within})
    return tuple(_summary(n, single.get(n) or within[n], single=n in single) for n in names)


def worst_operators(report: DeviceReport, limit: int = 10) -> tuple[OperatorSummary, ...]:
    """The operators to look at first: wrong before broken before not run here, then by the number
    of cases that do not pass. Only single-operator cases tell whose fault it is, so only operators
    that have some are here."""
    failing = [o for o in report.operators if o.single and o.passed < o.total]
    return tuple(sorted(failing, key=_badness)[:limit])


def evidence(operators: Iterable[OperatorSummary]) -> dict[str, str]:
    """What routing may take from a run (`hal.routing.record_evidence`): for each operator with
    cases of its own, "" when one passed, else the reason why none of at least two did."""
    found = {}
    for o in operators:
        if o.single and o.passed:
            found[o.operator] = ""
        elif o.single and o.total > 1:
            found[o.operator] = f"{o.total} cases; {o.reasons[0] if o.reasons else 'none passed'}"
    return found


def build_report(
    device: Device,
    cases: Iterable[Facts],
    results: Sequence[CaseResult],
    *,
    contract: ContractInfo,
    contract_cells: int,
    suites: Sequence[str],
    wall_seconds: float,
    environment: Environment,
    limits: Limits,
    selection: Selection,
    profile: Profile | None = None,
    groups: Mapping[str, Collection[str]] | None = None,
    problems: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> DeviceReport:
    """The report of one device, with everything that follows from its results."""
    cases = list(cases)
    cells = {case.id: case.cells for case in cases}
    results = [dataclasses.replace(r, cells=cells[r.id]) for r in results]
    complete = not any(r.outcome is Outcome.NOT_RUN for r in results)
    scores = None
    if complete:
        scores = compute_scores(
            cases, results, contract_cells=contract_cells, profile=profile, groups=groups
        )
    return DeviceReport(
        device=device,
        contract=contract,
        suites=tuple(suites),
        complete=complete,
        wall_seconds=wall_seconds,
        scores=scores,
        outcomes=count_outcomes(results),
        classes=count_classes(results),
        operators=summarize_operators(cases, results),
        cases=tuple(results),
        environment=environment,
        limits=limits,
        selection=selection,
        problems=tuple(problems),
        notes=tuple(notes),
    )


@dataclasses.dataclass(frozen=True)
class Gate:
    """A score that must be reached: `--fail-under cells=90`."""

    score: str
    percent: float

    @classmethod
    def parse(cls, text: str) -> Gate:
        """Read "cells=90". Raises UsageError."""
        name, equals, number = text.partition("=")
        name = name.strip().replace("-", "_")
        try:
            percent = float(number)
        except ValueError:
            percent = -1.0
        if not equals or not 0 <= percent <= 100:
            raise UsageError(
                f"{text!r} is no gate: expected a score's name and a percentage, e.g. cells=90"
            )
        if name not in _GATED:
            raise UsageError(
                f"there is no score {name!r}.{did_you_mean(name, _GATED)}",
                next_step=f"choose one of: {', '.join(_GATED)}",
            )
        return cls(name, percent)

    def problem(self, report: DeviceReport) -> str:
        """Why the report does not pass the gate, "" when it does."""
        wanted = f"{self.score} under {self.percent:g} %"
        if report.scores is None:
            return f"{report.device.id}: {wanted}: the run is incomplete and has no score"
        got: Score | None = getattr(report.scores, self.score, None)
        if self.score == "headline":
            headline = report.scores.headline
            got = headline.score if headline else None
        if got is None:
            return f"{report.device.id}: {wanted}: the run has no {self.score}"
        return "" if got.at_least(self.percent) else f"{report.device.id}: {wanted}: {got}"


_GATED = ("cases", "cells", "operators_any", "operators_all", "usage", "headline")


def _by_id(cases: Iterable[Facts], results: Sequence[CaseResult]) -> Mapping[str, Facts]:
    facts = {case.id: case for case in cases}
    if facts.keys() != {r.id for r in results} or len(facts) != len(results):
        raise ValueError("the results are not those of the cases, each once")
    return facts


def _score(passed: Iterable[bool], of_contract: int | None = None) -> Score:
    values = list(passed)
    return Score(sum(values), len(values), of_contract)


def _by_operator(
    facts: Mapping[str, Facts], counted: Mapping[str, bool]
) -> Mapping[str, list[bool]]:
    by_operator: dict[str, list[bool]] = collections.defaultdict(list)
    for case_id, passed in counted.items():
        case = facts[case_id]
        if case.single_operator and not case.expanded:
            by_operator[case.single_operator].append(passed)
    return by_operator


def _groups(
    groups: Mapping[str, Collection[str]], facts: Mapping[str, Facts], counted: Mapping[str, bool]
) -> Iterable[GroupScore]:
    for name, case_ids in groups.items():
        ran = {case_id: counted[case_id] for case_id in case_ids if case_id in counted}
        if ran:
            by_operator = _by_operator(facts, ran).values()
            yield GroupScore(
                name,
                cases=_score(ran.values()),
                operators_any=_score(map(any, by_operator)),
                operators_all=_score(map(all, by_operator)),
            )


def _headline(
    profile: Profile | None, facts: Mapping[str, Facts], counted: Mapping[str, bool]
) -> Headline | None:
    if profile is None or not profile.cases or not facts.keys() >= set(profile.cases):
        return None
    return Headline(profile.name, _score(counted[i] for i in set(profile.cases) if i in counted))


def _summary(name: str, results: Sequence[CaseResult], *, single: bool) -> OperatorSummary:
    passing = [r.seconds for r in results if r.outcome is Outcome.PASS]
    counts = collections.Counter(r.outcome for r in results)
    failing = sorted(
        (r for r in results if r.outcome is not Outcome.PASS),
        key=lambda r: _SEVERITY.index(r.outcome.outcome_class),
    )
    reasons = dict.fromkeys(_reason(r) for r in failing)
    return OperatorSummary(
        operator=name,
        passed=len(passing),
        total=len(results),
        single=single,
        median_seconds=statistics.median(passing) if passing else None,
        outcomes={o.value: counts[o] for o in Outcome if counts[o]},
        reasons=tuple(reasons)[:_MAX_REASONS],
    )


def _reason(result: CaseResult) -> str:
    text = " ".join(result.reason.split())
    if len(text) > _MAX_REASON_LENGTH:
        text = text[: _MAX_REASON_LENGTH - 1] + "…"
    return f"{result.outcome.value}: {text}" if text else result.outcome.value


def _badness(summary: OperatorSummary) -> tuple[int, int, str]:
    classes = {Outcome(name).outcome_class for name in summary.outcomes}
    worst = next(i for i, c in enumerate(_SEVERITY) if c in classes)
    return worst, summary.passed - summary.total, summary.operator
