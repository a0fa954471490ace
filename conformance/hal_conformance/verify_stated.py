"""What a submission says of itself: a whole run, a log that bears it out, versions that fit."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from hal import Outcome
from hal_conformance.case import Suite
from hal_conformance.report import CaseResult, ContractInfo, DeviceReport
from hal_conformance.session import contract_of
from hal_conformance.submission import Part

__all__ = ["Check", "check_complete", "check_log", "check_versions", "some", "versions_differ"]

_SHOWN = 3


@dataclasses.dataclass(frozen=True)
class Check:
    """One question. `problems` are why the submission is refused, none when it holds; `said` is
    what was looked at."""

    name: str
    said: str
    problems: tuple[str, ...] = ()


def check_complete(report: DeviceReport) -> Check:
    """Whether every case has an outcome, and some case a verdict."""
    problems = []
    missing = sum(r.outcome is Outcome.NOT_RUN for r in report.cases)
    if missing or not report.complete:
        problems.append(
            f"the run is incomplete: {missing} of {len(report.cases)} cases have not run"
        )
    judged = [r for r in report.cases if r.outcome not in (Outcome.NOT_RUN, Outcome.DISPUTED)]
    if not judged:
        problems.append("a run with no result is no score: not one case was judged")
    if report.selection.pattern:
        problems.append(
            f"the run took only the cases that fit {report.selection.pattern!r}, and a part of a "
            "suite is no score of it"
        )
    return Check(
        "complete", f"{len(judged)} of {len(report.cases)} cases were judged", tuple(problems)
    )


def check_log(report: DeviceReport, part: Part) -> Check:
    """Whether the log is unbroken, and says of every case what the report says."""
    log, problems = part.log, []
    if log.broken:
        problems.append(f"the log was altered: {log.broken}")
    elif log.seal != part.seal:
        problems.append("the log was altered: its last line is not the one that was submitted")
    changed = [
        f"{r.id}: {_difference(r, log.results.get(r.id))}"
        for r in report.cases
        if r.outcome is not Outcome.NOT_RUN and _logged(r) != _logged(log.results.get(r.id))
    ]
    problems += some(changed, "results are not those of the log")
    return Check("log", f"{len(log.results)} sealed results", tuple(problems))


def check_versions(report: DeviceReport, part: Part, suite: Suite) -> Check:
    """Whether report and log name the same versions, and the suite is the one that is here."""
    problems = []
    here, _ = contract_of(suite, report.cases)
    if report.contract != here:
        problems.append(f"the contract is {_named(report.contract)}, and here {_named(here)}")
    for header in part.log.headers:
        if header.get("suite") != suite.version:
            there = header.get("suite")
            problems.append(f"the cases are made from {there!r}, and here from {suite.version!r}")
        if header.get("device") != report.device.id:
            problems.append(f"the log is of {header.get('device')!r}")
        logged: Any = header.get("versions")
        problems += versions_differ(report.device.versions, logged, "in the log")
    onnx = report.environment.packages.get("onnx")
    if report.contract.onnx and onnx != report.contract.onnx:
        problems.append(f"onnx is {onnx}, and the contract is that of {report.contract.onnx}")
    return Check(
        "versions",
        ", ".join([suite.version, *(f"{n} {v}" for n, v in report.device.versions.items())]),
        tuple(dict.fromkeys(problems)),
    )


def versions_differ(told: Mapping[str, str], other: object, where: str) -> list[str]:
    """One problem for each version of `told`, the report's, that is another in `other`."""
    others = other if isinstance(other, Mapping) else {}
    pairs = {name: (told.get(name), others.get(name)) for name in sorted({*told, *others})}
    return [
        f"{name} is {one or 'missing'} in the report and {two or 'missing'} {where}"
        for name, (one, two) in pairs.items()
        if one != two
    ]


def some(items: Iterable[str], what: str) -> list[str]:
    """One problem for all of them, the first few by name; none for none."""
    items = list(items)
    if not items:
        return []
    more = f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return [f"{what} ({len(items)}): {', '.join(items[:_SHOWN])}{more}"]


def _logged(result: CaseResult | None) -> tuple[object, ...] | None:
    """What a log knows of a case: not its cells nor its mark, which come later."""
    if result is None:
        return None
    return result.outcome, result.evidence, result.reason, result.seconds, result.operators


def _difference(told: CaseResult, logged: CaseResult | None) -> str:
    if logged is None:
        return f"{told.outcome.value}, and the log has no result"
    if told.outcome is not logged.outcome:
        return f"{told.outcome.value} in the report, {logged.outcome.value} in the log"
    return "evidence, reason or time"


def _named(contract: ContractInfo) -> str:
    return f"{contract.version} (onnx {contract.onnx})" if contract.onnx else contract.version
