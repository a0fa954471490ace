"""`hal ops`, through the same door as a user."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hal.cli import main


def _json(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main(["ops", *arguments, "--json"]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert document["schema"] == "hal.ops/1"
    return document


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ops", "--domain", "ai.onnx.ml"]) == 0
    out = capsys.readouterr().out
    assert "TreeEnsemble" in out
    assert "17 operators, 86 cells: 76 over tensors, 10 over sequences" in out


def test_json_counts(capsys: pytest.CaptureFixture[str]) -> None:
    assert _json(capsys, "-p", "full")["cells"] == 2949
    every = _json(capsys, "--versions")["operators"]
    assert isinstance(every, list)
    assert len(every) == 659


def test_glob_ignores_case_and_profile_restricts_cells(capsys: pytest.CaptureFixture[str]) -> None:
    rows = _json(capsys, "reducem*", "-p", "vision")["operators"]
    assert [(r["key"], r["cells"]) for r in rows] == [("ReduceMean", 5)]


def test_one_operator(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ops", "softmax"]) == 0
    out = capsys.readouterr().out
    for part in ("Softmax-13", "versions: 1, 11, 13", "axis: INT = -1", "cells (4)", "bfloat16"):
        assert part in out
    (row,) = _json(capsys, "Softmax")["operators"]
    assert row["id"] == "Softmax-13"
    assert "Softmax-13/T/tensor(float)" in row["cell_ids"]


def test_profiles(capsys: pytest.CaptureFixture[str]) -> None:
    rows = _json(capsys, "--profiles")["profiles"]
    assert {r["name"]: r["cells"] for r in rows}["full"] == 2949


def test_contributed_operators_only_when_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert not [r for r in _json(capsys)["operators"] if r["domain"] == "com.microsoft"]
    for asked in (["--profile", "microsoft"], ["--domain", "com.microsoft"]):
        rows = _json(capsys, *asked)["operators"]
        assert {r["domain"] for r in rows} == {"com.microsoft"} and len(rows) > 100
    assert main(["ops", "com.microsoft::FastGelu"]) == 0
    assert "profiles: microsoft" in capsys.readouterr().out
    assert main(["ops", "--domain", "com.microsoft", "Fused*"]) == 0
    assert "onnxruntime 1." in capsys.readouterr().out


def test_device(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("hal_reference")
    document = _json(capsys, "Relu", "Gelu", "--device", "reference:cpu")
    assert (document["supported"], document["cells"]) == (12, 12)
    assert main(["ops", "Relu", "--device", "reference:cpu", "-p", "vision"]) == 0
    assert "reference:cpu declares 5 of 5 cells of 1 operators" in capsys.readouterr().out
    assert main(["ops", "Relu", "--device", "reference:cpv"]) == 2
    assert "Did you mean 'reference:cpu'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["Sofmax"], "Did you mean 'Softmax'?"),
        (["-p", "visoin"], "Did you mean 'vision'?"),
        (["-d", "ai.onnx.mL"], "Did you mean 'ai.onnx.ml'?"),
        (["Upsample"], "deprecated"),
        (["Scaler", "-d", "ai.onnx"], "no operator fits"),
    ],
)
def test_mistakes(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    assert main(["ops", *arguments]) == 2
    assert message in capsys.readouterr().err
