"""Backends made wrong on purpose: each fault ends as the right outcome, and costs one case."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

# One small case an operator; those in the plugin's FAULTS misbehave, the rest are right.
CASES = {
    "onnx/node/test_abs": "crash",
    "onnx/node/test_acos": "crash",
    "onnx/node/test_acosh": "timeout",
    "onnx/node/test_asin": "memory",
    "onnx/node/test_asinh": "crash",
    "onnx/node/test_atan": "error",
    "onnx/node/test_atanh": "wrong",
    "onnx/node/test_ceil": "wrong",
    "onnx/node/test_cos": "wrong",
    "onnx/node/test_cosh": "pass",
    "onnx/node/test_erf": "wrong",
    "onnx/node/test_exp": "pass",
    "onnx/node/test_floor": "pass",
    "onnx/node/test_sin": "pass",
    "onnx/node/test_tanh": "pass",
}
REASONS = {
    "onnx/node/test_abs": "signal 11",
    "onnx/node/test_acos": "signal 6",
    "onnx/node/test_acosh": "timed out after 4 s",
    "onnx/node/test_asin": "grew past",
    "onnx/node/test_asinh": "exited with code 0",
    "onnx/node/test_atan": "StubbornError",
    "onnx/node/test_atanh": "tensor(double)",
    "onnx/node/test_ceil": "[60]",
    "onnx/node/test_cos": "nan",
}


def test_each_fault_costs_one_case(hal: Any, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    patterns = [word for case in CASES for word in ("-k", case.replace("node", "nod[e]"))]
    done = hal(
        *("conformance", "-d", "faulty:cpu", "--timeout", "4", "--memory", "0.3"),
        *("--json", str(report), *patterns),
    )
    assert done.returncode == 0, done.stderr
    (measured,) = json.loads(report.read_text())["reports"]
    got = {case["id"]: case for case in measured["cases"]}
    assert {i: c["outcome"] for i, c in got.items()} == CASES
    assert measured["complete"]
    for case_id, text in REASONS.items():
        assert text in got[case_id]["reason"], got[case_id]["reason"]


@pytest.mark.parametrize("how", ["hang", "crash"])
def test_device_list_that_fails_is_a_state(hal: Any, environment: dict[str, str], how: str) -> None:
    environment["HAL_FAULTY_DEVICES"] = how
    done = hal("devices", "--json", "--timeout", "3")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    states = {b["name"]: b for b in document["backends"]}
    assert states["faulty"]["state"] == "broken"
    assert ("3 s" if how == "hang" else "signal 11") in states["faulty"]["reason"]
    assert any(d["backend"] == "reference" for d in document["devices"])


def test_plugin_that_does_not_import_is_a_state(hal: Any, tmp_path: Path) -> None:
    info = tmp_path / "site" / "hal_bad-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hal-bad\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("[hal]\nbad = hal_bad_module\n")
    (tmp_path / "site" / "hal_bad_module.py").write_text("import a_vendor_sdk_that_is_not_there\n")
    done = hal("plugins", "--json")
    assert done.returncode == 0, done.stderr
    states = {p["name"]: p for p in json.loads(done.stdout)["plugins"]}
    assert states["bad"]["state"] == "broken"
    assert "a_vendor_sdk_that_is_not_there" in states["bad"]["reason"]
    assert states["faulty"]["state"] == "ready"
