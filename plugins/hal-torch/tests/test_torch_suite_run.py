"""`hal conformance --suite torch` as a user runs it, on the CPU and on a device with faults."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hal.paths import cache_dir

TESTS = Path(__file__).parent
Conformance = Callable[..., dict[str, Any]]


@pytest.fixture
def conformance(tmp_path: Path) -> Conformance:
    """conformance(*arguments): the report of a run where the device `paper` has the faults of
    quiet/hal_quiet.py; the key "output" has what the command printed."""
    info = tmp_path / "site" / "hal_quiet-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hal-quiet\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[torch.backends]\npaper = hal_quiet:load\n")
    # without the dist-info beside it, which names the device without faults
    (tmp_path / "site" / "hal_passthrough.py").symlink_to(TESTS / "passthrough/hal_passthrough.py")
    (tmp_path / "site" / "hal_quiet.py").symlink_to(TESTS / "quiet" / "hal_quiet.py")
    home = tmp_path / "home"
    home.mkdir()
    cache_dir().mkdir(parents=True, exist_ok=True)
    (home / "cache").symlink_to(cache_dir())
    path = tmp_path / "report.json"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site"), "HAL_HOME": str(home)}

    def run(*arguments: str, code: int = 0) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, "-m", "hal", "conformance", "--json", str(path), *arguments],
            env=environment,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=300,
        )
        assert done.returncode == code, done.stderr
        if code:
            return {"output": done.stderr}
        (report,) = json.loads(path.read_text())["reports"]
        return {**report, "output": done.stdout}

    return run


def only(*names: str) -> list[str]:
    """Options that select these operators in float32, forward and backward."""
    return [a for name in names for a in ("-k", f"torch/?orward/{name}-float32")]


def test_faults_of_a_device_are_told_apart(conformance: Conformance) -> None:
    names = ("erf", "exp", "sinh", "ceil", "cosh", "tan", "sqrt")
    report = conformance("-d", "torch:paper:0", "--suite", "torch", "-j", "1", *only(*names))
    outcomes = {case["operators"][0]: case["outcome"] for case in report["cases"]}
    assert outcomes == {
        "erf": "fallback",
        "exp": "pass",
        "sinh": "wrong",
        "ceil": "wrong",
        "cosh": "unsupported",
        "tan": "crash",
        "sqrt": "pass",
    }
    reasons = {case["operators"][0]: case["reason"] for case in report["cases"]}
    assert "aten::erf ran on the CPU" in reasons["erf"]
    assert "dtype float64, expected float32" in reasons["ceil"]
    evidence = {case["operators"][0]: case["evidence"] for case in report["cases"]}
    assert evidence["exp"] == evidence["erf"] == "traced"


def test_scores_have_their_parts(conformance: Conformance) -> None:
    report = conformance(
        *("-d", "torch:cpu", "--suite", "torch", "-k", "/exp-", "-k", "/floor-", "-k", "/mm-")
    )
    assert {case["evidence"] for case in report["cases"]} == {"sole"}
    groups = {g["name"]: g["cases"] for g in report["scores"]["groups"]}
    assert groups["forward"] == {"passed": 3, "total": 3}
    assert groups["backward"] == {"passed": 3, "total": 3}
    assert groups["forward, linear algebra"] == {"passed": 1, "total": 1}
    assert groups["forward, core ATen"]["total"] == 3
    assert report["contract"]["version"].startswith("torch ")
    assert "forward, linear algebra" in report["output"]
    assert any("left out by name" in note for note in report["notes"])


def test_all_dtypes_are_a_suite_of_their_own(conformance: Conformance) -> None:
    report = conformance("-d", "torch:cpu", "--suite", "torch-all", "-k", "torch/forward/add-*")
    dtypes = {case["id"].rpartition("-")[2] for case in report["cases"]}
    assert {"float32", "float16", "bfloat16", "int8", "bool", "complex64"} <= dtypes
    assert report["outcomes"]["pass"] == len(report["cases"])


def test_two_runs_agree(conformance: Conformance) -> None:
    runs = [
        conformance("-d", "torch:cpu", "--suite", "torch", "-k", "dropout", "-k", "normal")
        for _ in range(2)
    ]
    first, second = ({c["id"]: c["outcome"] for c in run["cases"]} for run in runs)
    assert first == second
    assert set(first.values()) == {"pass"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("-d", "ort:cpu", "--suite", "torch"), "runs on devices of the backend torch"),
        (("-d", "torch:cpu", "--suite", "torhc"), "Did you mean 'torch'?"),
        (("-d", "torch:cpu", "--suite", "torch", "--profile", "vision"), "ONNX's operators"),
        (("-d", "torch:cpu", "--suite", "torch", "--option", "mode=eager"), "takes no --option"),
        (("-d", "torch:cpu", "--suite", "torch", "-k", "sotfmax"), "no case matches"),
    ],
)
def test_wrong_input(conformance: Conformance, arguments: tuple[str, ...], said: str) -> None:
    assert said in conformance(*arguments, code=2)["output"]
