"""What a foreign runner brings back (`hal.results/1`), and the report that it makes.

`results.schema.json` beside this module describes the form. A result is the runner's own verdict,
or a folder of outputs that is judged here as if the device had just given them.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import onnx

from hal import BackendSpec, Device, Evidence, Model, Outcome, Value
from hal.backend import Backend, Option
from hal.errors import DataError, UsageError, did_you_mean
from hal.plugins import Registry
from hal_conformance.case import Case, CaseFacts, Suite, load_suite
from hal_conformance.judge import run_case
from hal_conformance.report import CaseResult, DeviceReport, Environment, Limits, Selection
from hal_conformance.scoring import build_report
from hal_conformance.session import choose_cases, contract_of, headline_of
from hal_conformance.suite_plugin import PluginSuite
from hal_conformance.testdata import data_set_folder, read_values

__all__ = ["SCHEMA", "ForeignResult", "Results", "read_results", "report_of"]

SCHEMA = "hal.results/1"


@dataclasses.dataclass(frozen=True)
class ForeignResult:
    """One case: `outputs` is the folder of what the device gave; None: `outcome` is the runner's
    verdict."""

    id: str
    outcome: Outcome | None
    outputs: Path | None
    evidence: Evidence
    reason: str
    seconds: float


@dataclasses.dataclass(frozen=True)
class Results:
    """A results file."""

    path: Path
    suite: str
    version: str
    profile: str
    patterns: tuple[str, ...]
    device: Device
    platform: str
    wall_seconds: float
    results: tuple[ForeignResult, ...]


def read_results(path: Path) -> Results:
    """Read a results file. Raises DataError, naming the file and the place in it, for anything that
    does not fit the schema, and for a folder of outputs that is not there or lies elsewhere."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON: {error}") from None
    schema = data.get("schema") if isinstance(data, dict) else None
    if schema != SCHEMA:
        raise DataError(
            f"{path}: no results of a runner: its schema is {schema!r}, not {SCHEMA!r}",
            next_step="docs/other-languages.md has the form",
        )
    rules = json.loads(
        resources.files("hal_conformance").joinpath("results.schema.json").read_text()
    )
    first = next(jsonschema.Draft202012Validator(rules).iter_errors(data), None)
    if first is not None:
        raise DataError(f"{path}: {first.json_path}: {first.message[:300]}")
    device, selection = data["device"], data.get("selection", {"profile": "", "patterns": []})
    known = {field.name for field in dataclasses.fields(Device)}
    return Results(
        path,
        data["suite"],
        data["version"],
        selection["profile"],
        tuple(selection["patterns"]),
        Device(**{name: value for name, value in device.items() if name in known}),
        data.get("platform", ""),
        float(data.get("wall_seconds", 0.0)),
        tuple(_result(path, row) for row in data["results"]),
    )


def _result(path: Path, row: Mapping[str, Any]) -> ForeignResult:
    outputs = None
    if "outputs" in row:
        root = path.parent.resolve()
        outputs = (root / row["outputs"]).resolve()
        if not outputs.is_relative_to(root):
            raise DataError(f"{path}: {row['id']}: {row['outputs']!r} is not under {root}")
        if not outputs.is_dir():
            raise DataError(f"{path}: {row['id']}: there is no folder {outputs}")
    return ForeignResult(
        row["id"],
        Outcome(row["outcome"]) if "outcome" in row else None,
        outputs,
        Evidence(row.get("evidence", "declared")),
        row.get("reason", ""),
        float(row.get("seconds", 0.0)),
    )


def report_of(
    results: Results,
    registry: Registry,
    progress: Callable[[CaseResult], None] = lambda result: None,
) -> DeviceReport:
    """The report of a results file; a selected case without a result is `not-run`.

    Raises DataError for results of another version of the suite, of a case that the selection does
    not have or has twice, and for a random case that the runner judged itself; UsageError for an
    unknown suite, or one whose cases are no models.
    """
    suite = load_suite(results.suite, registry.suites)
    if isinstance(suite, PluginSuite):
        raise UsageError(f"the suite {suite.name} runs its cases itself: nothing can be imported")
    if results.version != suite.version:
        raise DataError(
            f"{results.path}: these are results of {results.version}, and here is {suite.version}: "
            "other versions are other cases",
            next_step=f"hal-conformance export DIR --suite {suite.name}, and run these cases",
        )
    suite, cases = choose_cases(registry, results.suite, results.profile, results.patterns)
    found = _by_id(results, cases)
    judged = []
    for facts in cases:
        judged.append(_judge(suite, facts, found.get(facts.id), results.device))
        progress(judged[-1])
    table, cells = contract_of(suite, cases)
    ours = sum(one.outputs is not None for one in results.results)
    return build_report(
        results.device,
        cases,
        judged,
        contract=table,
        contract_cells=cells,
        suites=[suite.name],
        wall_seconds=results.wall_seconds,
        environment=Environment(
            "", results.platform, Environment.here(["hal-conformance", "hal-core", "onnx"]).packages
        ),
        limits=Limits(),
        selection=Selection(suite.name, results.profile, " ".join(results.patterns)),
        profile=headline_of(results.device, suite, results.profile),
        notes=[
            f"brought back by a foreign runner: {ours} results judged here, "
            f"{len(results.results) - ours} by the runner; its limits are not known"
        ],
    )


def _by_id(results: Results, cases: Sequence[CaseFacts]) -> dict[str, ForeignResult]:
    facts = {case.id: case for case in cases}
    found: dict[str, ForeignResult] = {}
    for one in results.results:
        if one.id not in facts:
            close = did_you_mean(one.id, facts)
            raise DataError(f"{results.path}: {one.id!r} is no case of the selection.{close}")
        if one.id in found:
            raise DataError(f"{results.path}: {one.id!r} is there twice")
        if facts[one.id].judge == "statistics" and one.outcome in (Outcome.PASS, Outcome.WRONG):
            raise DataError(
                f"{results.path}: {one.id!r} is random, and only HAL can judge it",
                next_step="hand back its outputs instead of an outcome",
            )
        found[one.id] = one
    return found


def _judge(
    suite: Suite, facts: CaseFacts, found: ForeignResult | None, device: Device
) -> CaseResult:
    def result(outcome: Outcome, reason: str = "", *, evidence: str = "") -> CaseResult:
        seconds = found.seconds if found else 0.0
        return CaseResult(facts.id, facts.operators, outcome, evidence, reason, seconds)

    if found is None:
        return result(Outcome.NOT_RUN)
    if facts.disputed:
        return result(Outcome.DISPUTED, facts.disputed)
    outcome, reason = found.outcome or Outcome.NOT_RUN, found.reason
    case = suite.load(facts.id) if found.outputs else None
    if found.outputs and isinstance(case, Case):
        judged = run_case(case, device, _SPEC, _Replay(case, found.outputs), {})
        outcome, reason = judged.outcome, judged.reason or reason
    ran = outcome in (Outcome.PASS, Outcome.WRONG)
    return result(outcome, reason, evidence=found.evidence.value if ran else "")


def _nothing() -> Backend:
    raise NotImplementedError


_SPEC = BackendSpec("replay", _nothing)  # declares no ability: nothing beyond `run` is called


class _Replay:
    """A backend that gives what lies in a folder, a data set a call."""

    def __init__(self, case: Case, folder: Path) -> None:
        self._infos = onnx.ModelProto.FromString(case.model.data).graph.output
        self._folder, self._number = folder, -1

    def compile(self, device: Device, model: Model, options: Mapping[str, Option]) -> _Replay:
        return self

    def run(self, inputs: Mapping[str, Value]) -> Mapping[str, Value]:
        self._number += 1
        return read_values(self._folder / data_set_folder(self._number), self._infos)
