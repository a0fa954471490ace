"""The manifest of an export (`hal.cases/1`): what each exported case is, for a runner in any
language. `cases.schema.json` beside this module describes the same form."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import onnx

from hal.errors import OutputError, UsageError
from hal_conformance._files import write_text
from hal_conformance.case import Case, CaseFacts, HostedCase, Suite
from hal_conformance.model_facts import type_string
from hal_conformance.testdata import write_case

__all__ = [
    "MANIFEST",
    "SCHEMA",
    "Selected",
    "case_folder",
    "check_exportable",
    "export_cases",
]

SCHEMA = "hal.cases/1"
MANIFEST = "manifest.json"


@dataclasses.dataclass(frozen=True)
class Selected:
    """Which cases of the suite were chosen; all of them when both are empty."""

    profile: str = ""
    patterns: tuple[str, ...] = ()


def case_folder(case_id: str) -> str:
    """The folder of a case under the export's, with `/` between its parts."""
    return re.sub(r"[^\w./+=-]", "_", case_id)


def check_exportable(suite: Suite, cases: Iterable[CaseFacts]) -> None:
    """Raises UsageError for a suite whose cases are no models."""
    if any(isinstance(case, HostedCase) for case in cases):
        raise UsageError(
            f"the suite {suite.name} runs its cases itself: there is no model to export",
            next_step="hal-conformance export DIR --suite contract",
        )


def export_cases(
    suite: Suite,
    cases: Iterable[CaseFacts],
    selected: Selected,
    folder: Path,
    progress: Callable[[CaseFacts], None] = lambda case: None,
) -> int:
    """Write cases and then their manifest into an empty folder; returns how many there are.

    Raises OutputError when the folder cannot be written.
    """
    rows = []
    try:
        for facts in cases:
            case = suite.load(facts.id)
            if isinstance(case, HostedCase):
                continue  # check_exportable refuses them
            write_case(case, folder / case_folder(case.id))
            rows.append(_row(case))
            progress(facts)
        document = {
            "schema": SCHEMA,
            "suite": suite.name,
            "version": suite.version,
            "selection": {"profile": selected.profile, "patterns": list(selected.patterns)},
            "cases": rows,
        }
        write_text(folder / MANIFEST, json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    except OSError as error:
        name = error.filename or folder
        raise OutputError(f"cannot write {name}: {error.strerror or error}") from None
    return len(rows)


def _row(case: Case) -> dict[str, Any]:
    graph = onnx.ModelProto.FromString(case.model.data).graph
    fed = case.data_sets[0].inputs if case.data_sets else {}
    return {
        "id": case.id,
        "path": case_folder(case.id),
        "data_sets": len(case.data_sets),
        "inputs": [_value(i, info) for i, info in enumerate(graph.input) if info.name in fed],
        "outputs": [_value(i, info) for i, info in enumerate(graph.output)],
        "operators": list(case.operators),
        "cells": list(case.cells),
        "opset": case.opset,
        "ir_version": case.ir_version,
        "judge": case.judge,
        "rtol": case.rtol,
        "atol": case.atol,
        "tolerance_source": case.tolerance_source,
        "seed": case.seed,
        "disputed": case.disputed,
    }


def _value(position: int, info: onnx.ValueInfoProto) -> dict[str, Any]:
    return {"position": position, "name": info.name, "type": type_string(info.type)}
