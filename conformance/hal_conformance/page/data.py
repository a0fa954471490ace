"""What the page's script reads: every case of every run, in as few bytes as is easy.

Texts are kept once and named by their number. A run has one letter a case for the outcome and one
for the evidence.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from typing import Any

from hal import Evidence, Outcome, OutcomeClass
from hal.contract import contract
from hal_conformance.cells import CONTAINERS, TYPES, operators_and_types
from hal_conformance.report import CaseResult
from hal_conformance.side_by_side import Run

__all__ = ["page_data"]

_ABSENT = "-"
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
Json = dict[str, Any]


def page_data(runs: Sequence[Run]) -> Json:
    """The data of these runs as JSON."""
    cases: dict[str, CaseResult] = {}
    for run in runs:
        for result in run.report.cases:
            cases.setdefault(result.id, result)
    reasons, pairs = _Numbers(), _Numbers()
    operators, types = _Numbers(), _Numbers()
    rows = []
    for case in cases.values():
        own = operators_and_types(case.cells, case.operators)
        rows.append(
            (
                case.id,
                [operators.of(o) for o in case.operators],
                [pairs.of((operators.of(o), types.of(t))) for o, t in own],
            )
        )
    asked = [pairs.of((operators.of(o), types.of(t))) for o, t in _contract_pairs(runs)]
    return {
        "outcomes": [{"name": o.value, "class": _class(o)} for o in Outcome],
        "evidence": ["", *(e.value for e in Evidence)],
        "operators": operators.values,
        "types": types.values,
        "columns": sorted(range(len(types.values)), key=lambda i: _column(types.values[i])),
        "pairs": pairs.values,
        "contract": asked,
        "ids": [row[0] for row in rows],
        "of": [row[1] for row in rows],
        "in": [row[2] for row in rows],
        "runs": [_run(run, cases, reasons) for run in runs],
        "reasons": reasons.values,
    }


def _run(run: Run, cases: Iterable[str], reasons: _Numbers) -> Json:
    by_id = {r.id: r for r in run.report.cases}
    results = [by_id.get(case_id) for case_id in cases]
    letters = {o: _LETTERS[i] for i, o in enumerate(Outcome)}
    grades = {grade: _LETTERS[i] for i, grade in enumerate(("", *(e.value for e in Evidence)))}
    device, suite = shlex.quote(run.report.device.id), shlex.quote(run.suite)
    return {
        "label": run.label,
        "command": f"hal conformance -d {device} --suite {suite}",
        "outcomes": "".join(letters[r.outcome] if r else _ABSENT for r in results),
        "evidence": "".join(grades.get(r.evidence, "a") if r else _ABSENT for r in results),
        "reasons": [reasons.of(r.reason) if r and r.reason else -1 for r in results],
        "seconds": [float(f"{r.seconds:.3g}") if r else 0 for r in results],
        "expected": {i: r.expected for i, r in enumerate(results) if r and r.expected},
    }


def _contract_pairs(runs: Sequence[Run]) -> tuple[tuple[str, str], ...]:
    """The pairs that the contract asks for, so that the map shows what no case exercises; none
    where a part of a suite ran, or the contract is not this HAL's."""
    table = contract()
    asked = any(
        run.report.selection.full
        and (run.report.contract.version, run.report.contract.onnx)
        == (table.version, table.onnx_version)
        for run in runs
    )
    return operators_and_types(cell.id for cell in table.cells()) if asked else ()


def _class(outcome: Outcome) -> str:
    return {c: c.name.lower().replace("_", "-") for c in OutcomeClass}[outcome.outcome_class]


def _column(type_: str) -> tuple[int, str]:
    known = (*TYPES, *CONTAINERS)
    return (known.index(type_) if type_ in known else len(known), type_)


class _Numbers:
    """Values, each once, and the number of each."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._known: dict[Any, int] = {}

    def of(self, value: Any) -> int:
        number = self._known.setdefault(value, len(self.values))
        if number == len(self.values):
            self.values.append(value)
        return number
