"""The conformance report, and the one place that writes and reads its JSON (`hal.conformance/1`).

`report.schema.json` beside this module describes the same form for other readers.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hal import Device, Outcome
from hal.errors import DataError
from hal_conformance._files import check_writable, write_text
from hal_conformance._json_reading import Misplaced, counts, each, get, number, strings, texts
from hal_conformance._report_types import (
    CaseResult,
    ContractInfo,
    DeepReport,
    DeviceReport,
    Environment,
    GroupScore,
    Headline,
    Limits,
    OperatorSummary,
    ProfileCells,
    Report,
    Score,
    Scores,
    Selection,
)
from hal_conformance._speed_report import (
    Ceiling,
    SpeedEntry,
    SpeedReport,
    speed_from_json,
    speed_to_json,
)

__all__ = [
    "SCHEMA",
    "CaseResult",
    "Ceiling",
    "ContractInfo",
    "DeepReport",
    "DeviceReport",
    "Environment",
    "GroupScore",
    "Headline",
    "Limits",
    "OperatorSummary",
    "ProfileCells",
    "Report",
    "Score",
    "Scores",
    "Selection",
    "SpeedEntry",
    "SpeedReport",
    "check_writable",
    "from_json",
    "read",
    "result_from_json",
    "result_to_json",
    "to_json",
    "write",
]

SCHEMA = "hal.conformance/1"

Json = dict[str, Any]
_DEVICE: Mapping[str, type] = {
    "id": str,
    "kind": str,
    "name": str,
    "vendor": str,
    "memory": int,
    "emulated": bool,
    "slow": bool,
}
_GROUP_SCORES = ("cases", "operators_any", "operators_all")


def write(report: Report, path: Path) -> None:
    """Write a report as JSON, whole or not at all. Raises OutputError naming the path."""
    write_text(path, json.dumps(to_json(report), allow_nan=False, separators=(",", ":")) + "\n")


def read(path: Path) -> Report:
    """Read a report. Raises DataError, naming the file and the place in it, when it is missing, no
    JSON, cut short, of another schema or of a newer version."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: not JSON: not UTF-8 text") from None
    try:
        data = json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        if error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated"):
            raise DataError(f"{path}: the JSON ends in the middle: the file is cut short") from None
        place = f"line {error.lineno}, column {error.colno}"
        raise DataError(f"{path}: not JSON: {error.msg} at {place}") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON: {error}") from None
    try:
        return from_json(data)
    except DataError as error:
        raise DataError(f"{path}: {error}", next_step=error.next_step) from None


def to_json(report: Report) -> Json:
    """The report as JSON data."""
    return {"schema": SCHEMA, "reports": [_device_report_to_json(r) for r in report.reports]}


def from_json(data: Any) -> Report:
    """The report in JSON data; names that it does not know are skipped. Raises DataError."""
    _check_schema(data)
    try:
        return Report(each(data, "reports", _device_report_from_json))
    except Misplaced:
        raise
    except (KeyError, TypeError) as error:
        raise DataError(f"'reports' is no list of reports: {error}") from None


def result_to_json(result: CaseResult) -> Json:
    """One case as JSON data; what has nothing to say is left out."""
    data: Json = {
        "id": result.id,
        "operators": list(result.operators),
        "outcome": result.outcome.value,
        "evidence": result.evidence,
        "reason": result.reason,
        "seconds": result.seconds,
    }
    if result.expected:
        data["expected"] = result.expected
    if result.cells:
        data["cells"] = list(result.cells)
    return data


def result_from_json(data: Any) -> CaseResult:
    """One case of JSON data. Raises ValueError, KeyError or TypeError for anything else."""
    return CaseResult(
        get(data, "id", str),
        strings(data, "operators"),
        Outcome(get(data, "outcome", str)),
        get(data, "evidence", str),
        get(data, "reason", str),
        number(data, "seconds"),
        get(data, "expected", str) if "expected" in data else "",
        strings(data, "cells") if "cells" in data else (),
    )


def _device_report_to_json(report: DeviceReport) -> Json:
    device = report.device
    scores = report.scores
    return {
        "device": {
            **{name: getattr(device, name) for name in _DEVICE},
            "precision": device.precision,
            "versions": dict(device.versions),
        },
        "contract": dataclasses.asdict(report.contract),
        "suites": list(report.suites),
        "selection": dataclasses.asdict(report.selection),
        "limits": dataclasses.asdict(report.limits),
        "environment": {
            "python": report.environment.python,
            "platform": report.environment.platform,
            "packages": dict(report.environment.packages),
        },
        "complete": report.complete,
        "wall_seconds": report.wall_seconds,
        "scores": _scores_to_json(scores) if scores else None,
        "outcomes": dict(report.outcomes),
        "classes": dict(report.classes),
        "problems": list(report.problems),
        "notes": list(report.notes),
        "operators": [
            {**vars(o), "outcomes": dict(o.outcomes), "reasons": list(o.reasons)}
            for o in report.operators
        ],
        "cases": [result_to_json(r) for r in report.cases],
        **({"deep": _deep_to_json(report.deep)} if report.deep else {}),
        **({"speed": speed_to_json(report.speed)} if report.speed else {}),
    }


def _device_report_from_json(data: Any) -> DeviceReport:
    scores = get(data, "scores", dict, type(None))
    complete = get(data, "complete", bool)
    if complete is not (scores is not None):
        raise ValueError("a complete report has scores, an incomplete one has none")
    return DeviceReport(
        device=_device_from_json(get(data, "device", dict)),
        contract=ContractInfo(
            get(data["contract"], "version", str), get(data["contract"], "onnx", str)
        ),
        suites=strings(data, "suites"),
        complete=complete,
        wall_seconds=number(data, "wall_seconds"),
        scores=None if scores is None else _scores_from_json(scores),
        outcomes=counts(data, "outcomes"),
        classes=counts(data, "classes"),
        operators=each(data, "operators", _operator_from_json),
        cases=each(data, "cases", result_from_json),
        environment=_environment_from_json(get(data, "environment", dict)),
        limits=_limits_from_json(get(data, "limits", dict)),
        selection=_selection_from_json(get(data, "selection", dict)),
        problems=strings(data, "problems"),
        notes=strings(data, "notes"),
        deep=_deep_from_json(get(data, "deep", dict)) if "deep" in data else None,
        speed=speed_from_json(get(data, "speed", dict)) if "speed" in data else None,
    )


def _deep_to_json(deep: DeepReport) -> Json:
    failures = [result_to_json(r) for r in deep.failures]
    return {**vars(deep), "outcomes": dict(deep.outcomes), "failures": failures}


def _deep_from_json(data: Json) -> DeepReport:
    return DeepReport(
        draws=get(data, "draws", int),
        targets=get(data, "targets", int),
        searched=get(data, "searched", int),
        outcomes=counts(data, "outcomes"),
        failures=each(data, "failures", result_from_json),
        notes=strings(data, "notes"),
        seconds=number(data, "seconds"),
    )


def _device_from_json(data: Json) -> Device:
    fields = {name: get(data, name, kind) for name, kind in _DEVICE.items()}
    precision: Any = get(data, "precision", str) if "precision" in data else ""
    return Device(**fields, versions=texts(data, "versions"), precision=precision)


def _environment_from_json(data: Json) -> Environment:
    return Environment(
        get(data, "python", str), get(data, "platform", str), texts(data, "packages")
    )


def _limits_from_json(data: Json) -> Limits:
    return Limits(number(data, "timeout"), get(data, "memory", int), get(data, "jobs", int))


def _selection_from_json(data: Json) -> Selection:
    return Selection(*(get(data, name, str) for name in ("suite", "profile", "pattern")))


def _scores_to_json(scores: Scores) -> Json:
    headline = scores.headline
    return {
        "cases": _score_to_json(scores.cases),
        "cells": _score_to_json(scores.cells),
        "operators_any": _score_to_json(scores.operators_any),
        "operators_all": _score_to_json(scores.operators_all),
        "grades": dict(scores.grades),
        "headline": {"profile": headline.profile, **_score_to_json(headline.score)}
        if headline
        else None,
        "disputed": list(scores.disputed),
        "groups": [
            {"name": g.name, **{name: _score_to_json(getattr(g, name)) for name in _GROUP_SCORES}}
            for g in scores.groups
        ],
        **({"usage": _score_to_json(scores.usage)} if scores.usage else {}),
        "profiles": [
            {"profile": p.profile, "cells": _score_to_json(p.cells)} for p in scores.profiles
        ],
    }


def _scores_from_json(data: Json) -> Scores:
    headline = get(data, "headline", dict, type(None))
    return Scores(
        _score_from_json(data["cases"]),
        _score_from_json(data["cells"]),
        _score_from_json(data["operators_any"]),
        _score_from_json(data["operators_all"]),
        counts(data, "grades"),
        headline and Headline(get(headline, "profile", str), _score_from_json(headline)),
        strings(data, "disputed"),
        each(data, "groups", _group_from_json) if "groups" in data else (),
        _score_from_json(data["usage"]) if "usage" in data else None,
        each(data, "profiles", _profile_from_json) if "profiles" in data else (),
    )


def _group_from_json(data: Any) -> GroupScore:
    scores = {name: _score_from_json(data[name]) for name in _GROUP_SCORES}
    return GroupScore(get(data, "name", str), **scores)


def _profile_from_json(data: Any) -> ProfileCells:
    return ProfileCells(get(data, "profile", str), _score_from_json(data["cells"]))


def _score_to_json(score: Score) -> Json:
    data = {"passed": score.passed, "total": score.total}
    return data if score.of_contract is None else {**data, "of_contract": score.of_contract}


def _score_from_json(data: Any) -> Score:
    of_contract = get(data, "of_contract", int) if "of_contract" in data else None
    return Score(get(data, "passed", int), get(data, "total", int), of_contract)


def _operator_from_json(data: Any) -> OperatorSummary:
    median = data["median_seconds"]
    return OperatorSummary(
        get(data, "operator", str),
        get(data, "passed", int),
        get(data, "total", int),
        get(data, "single", bool),
        None if median is None else number(data, "median_seconds"),
        counts(data, "outcomes"),
        strings(data, "reasons"),
    )


def _check_schema(data: Any) -> None:
    schema = data.get("schema") if isinstance(data, dict) else None
    if schema == SCHEMA:
        return
    if not isinstance(schema, str):
        raise DataError("not a conformance report: it names no schema")
    family, _, version = schema.rpartition("/")
    own_family, _, own_version = SCHEMA.rpartition("/")
    if family != own_family or not version.isdecimal():
        raise DataError(f"not a conformance report: its schema is {schema!r}, not {SCHEMA!r}")
    if int(version) > int(own_version):
        raise DataError(
            f"this is {schema}, this HAL reads {SCHEMA}: upgrade hal-conformance",
            next_step="pip install --upgrade hal-conformance",
        )
    raise DataError(f"this is {schema}, this HAL reads {SCHEMA}: run `hal conformance` again")


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")
