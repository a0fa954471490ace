"""What comes out here of a submission's ids: its cases, its scores, its outcomes."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Mapping, Sequence

from hal import Outcome
from hal.backend import Option
from hal.errors import HalError
from hal.plugins import Registry
from hal_conformance.case import CaseFacts, HostedCase, Suite
from hal_conformance.digests import PARTS, case_digest
from hal_conformance.expectations import parse_expectations
from hal_conformance.expectations_judge import judge
from hal_conformance.journal import Memory
from hal_conformance.report import CaseResult, DeviceReport, Limits, Scores
from hal_conformance.runner import run_cases
from hal_conformance.scoring import build_report
from hal_conformance.session import all_ids, contract_of, headline_of, host_environment
from hal_conformance.submission import Part
from hal_conformance.verify_stated import Check, some, versions_differ

__all__ = [
    "check_cases",
    "check_digests",
    "check_expectations",
    "check_outcomes",
    "check_scores",
    "draw",
]

Progress = Callable[[str], None]


def draw(report: DeviceReport, count: int, seed: int) -> list[str]:
    """The ids of `count` cases of a report, the same for the same seed."""
    ids = sorted({r.id for r in report.cases})
    return random.Random(seed).sample(ids, min(count, len(ids)))  # noqa: S311 (no secret)


def check_cases(report: DeviceReport, cases: Sequence[CaseFacts]) -> Check:
    """Whether the report has exactly these cases, with their operators and cells."""
    wanted = {case.id: case for case in cases}
    results = {r.id: r for r in report.cases}
    problems = some([i for i in wanted if i not in results], "cases of the suite are missing")
    problems += some([i for i in results if i not in wanted], "cases are not the suite's")
    if len(results) != len(report.cases):
        problems.append("a case is there twice")
    both = [(wanted[i], r) for i, r in results.items() if i in wanted]
    problems += some(
        [c.id for c, r in both if (c.operators, c.cells) != (r.operators, r.cells)],
        "cases name other operators or cells than the contract",
    )
    problems += some(
        [c.id for c, r in both if _disputed_by_report_alone(c, r)],
        "cases are called disputed, and the suite does not dispute them",
    )
    return Check("cases", f"{len(wanted)} cases, their operators and cells", tuple(problems))


def check_expectations(report: DeviceReport, part: Part, suite: Suite, registry: Registry) -> Check:
    """Whether the lines are whole and hold, and the marks in the report are theirs."""
    text = part.expectations
    source = f"expectations of {report.device.backend}"
    try:
        listed = None if text is None else parse_expectations(text, source)
    except HalError as error:
        return Check("expectations", source, (str(error),))
    judgement = judge(
        listed,
        report.cases,
        report.device,
        suite_cases=all_ids(suite),
        suites=registry.suites,
    )
    problems = [v.message for v in judgement.violations]
    marked = zip(judgement.results, report.cases, strict=True)
    other = [r.id for r, told in marked if r.expected != told.expected]
    problems += some(other, "cases bear another mark than these expectations give")
    lines = f"{len(listed.lines)} lines, each with its reason" if listed else "the backend has none"
    return Check("expectations", lines, tuple(problems))


def check_scores(report: DeviceReport, suite: Suite, cases: Sequence[CaseFacts]) -> Check:
    """Whether the scores and counts are what the cases give."""
    table, cells = contract_of(suite, cases)
    again = build_report(
        report.device,
        cases,
        report.cases,
        contract=table,
        contract_cells=cells,
        suites=report.suites,
        wall_seconds=report.wall_seconds,
        environment=report.environment,
        limits=report.limits,
        selection=report.selection,
        profile=headline_of(report.device, suite, report.selection.profile),
        groups=getattr(suite, "groups", None),
    )
    told, made = _said(report.scores), _said(again.scores)
    problems = [
        f"{name}: {told.get(name, 'nothing')} in the report, and the cases give "
        f"{made.get(name, 'nothing')}"
        for name in dict.fromkeys((*made, *told))
        if told.get(name) != made.get(name)
    ]
    if again.scores != report.scores and not problems:
        problems.append("scores of the report do not follow from its cases")
    problems += [
        f"{name} of the report do not follow from its cases"
        for name in ("outcomes", "classes", "operators", "suites")
        if getattr(again, name) != getattr(report, name)
    ]
    return Check(
        "scores",
        f"computed again: cells {again.scores and again.scores.cells}",
        tuple(problems),
    )


def check_digests(
    report: DeviceReport, part: Part, suite: Suite, ids: Sequence[str], progress: Progress
) -> Check:
    """Whether these cases, made here from their ids, are those that were run. Expected outputs that
    differ are told and no problem: another processor rounds an oracle's sine otherwise."""
    changed: list[str] = []
    rounded = 0
    for number, case_id in enumerate(ids):
        if number % 50 == 0:
            progress(f"{report.device.id}: case {number + 1} of {len(ids)} made again")
        case = suite.load(case_id)
        if isinstance(case, HostedCase):
            return Check("digests", "the suite makes its own cases: their ids are compared")
        differs = _parts_that_differ(case_digest(case), part.log.digests.get(case_id, ""))
        if differs == [PARTS[-1]]:
            rounded += 1
        elif differs:
            changed.append(f"{case_id} ({', '.join(differs)})")
    problems = some(changed, "cases are not what their ids give here")
    if problems:
        there = report.environment.packages.get("numpy")
        problems.append(f"they were made with numpy {there}: another one may draw other numbers")
    said = f"{len(ids)} cases made again from their ids"
    if rounded:
        said += f", {rounded} with expected outputs that differ from those of the run"
    return Check("digests", said, tuple(problems))


def check_outcomes(
    report: DeviceReport,
    part: Part,
    suite: Suite,
    ids: Sequence[str],
    registry: Registry,
    progress: Progress,
) -> Check:
    """Whether these cases end the same on the device of that id here. Raises what
    `Registry.find_device` raises."""
    device = registry.find_device(report.device.id)
    problems = versions_differ(report.device.versions, device.versions, "here")
    if problems:
        return Check("rerun", "not run", tuple(problems))
    progress(f"{device.id}: {len(ids)} cases run again")
    limits = Limits(report.limits.timeout, report.limits.memory, min(2, report.limits.jobs))
    new_host = functools.partial(
        registry.host,
        device.backend,
        timeout=limits.timeout,
        memory=limits.memory,
        **host_environment(suite),
    )
    options = part.log.headers[-1].get("options") if part.log.headers else None
    spec = registry.backends[device.backend].spec
    run = run_cases(suite, ids, device, spec, new_host, limits, Memory(), options=_options(options))
    if run.interrupted:
        raise KeyboardInterrupt
    told = {r.id: r.outcome for r in report.cases}
    other = [
        f"{r.id}: {told[r.id].value} in the report, {r.outcome.value} here"
        for r in run.results
        if r.outcome is not told[r.id]
    ]
    return Check(
        "rerun",
        f"{len(ids)} cases run again on {device.id}",
        tuple(some(other, "cases end otherwise")),
    )


def _options(logged: object) -> Mapping[str, Option]:
    """What a log says that the models were compiled with."""
    options = logged if isinstance(logged, dict) else {}
    return {str(k): v for k, v in options.items() if isinstance(v, (str, int, float, bool))}


def _disputed_by_report_alone(case: CaseFacts, result: CaseResult) -> bool:
    if isinstance(case, HostedCase):
        return False  # its plugin judges it
    return (result.outcome is Outcome.DISPUTED) is not bool(case.disputed)


def _parts_that_differ(here: str, there: str) -> list[str]:
    if not there:
        return ["the log has no digest"]
    pairs = zip(PARTS, here.split(":"), there.split(":"), strict=False)
    return [name for name, a, b in pairs if a != b]


def _said(scores: Scores | None) -> dict[str, str]:
    """Every figure of the scores, as a person reads it."""
    if scores is None:
        return {}
    said = {
        "cases": str(scores.cases),
        "cells": f"{scores.cells} of {scores.cells.of_contract}",
        "operators, any case": str(scores.operators_any),
        "operators, all cases": str(scores.operators_all),
        "disputed": ", ".join(scores.disputed) or "none",
    }
    said |= {f"passes {grade}": str(count) for grade, count in scores.grades.items()}
    if scores.usage:
        said["nodes of real models"] = str(scores.usage)
    if scores.headline:
        said["headline"] = f"{scores.headline.score} of profile {scores.headline.profile}"
    for profile in scores.profiles:
        said[f"cells, {profile.profile}"] = f"{profile.cells} of {profile.cells.of_contract}"
    for group in scores.groups:
        each = (group.cases, group.operators_any, group.operators_all)
        said[group.name] = ", ".join(map(str, each))
    return said
