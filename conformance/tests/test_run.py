"""`hal conformance` as a user runs it: verdicts, resuming, gates, and wrong input."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

RIGHT = tuple(
    w for n in ("exp", "floor", "sinh", "sin", "tan") for w in ("-k", f"onnx/nod[e]/test_{n}")
)


def read(path: Path) -> dict[str, Any]:
    (report,) = json.loads(path.read_text())["reports"]
    return dict(report)


def test_report_of_a_small_run(hal: Any, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    done = hal("conformance", "-d", "reference:cpu", "-k", "test_exp", "--json", str(path))
    assert done.returncode == 0, done.stderr
    report = read(path)
    assert report["complete"]
    assert report["device"]["id"] == "reference:cpu"
    assert report["scores"]["cases"] == {
        "passed": report["outcomes"]["pass"],
        "total": len(report["cases"]),
    }
    for case in report["cases"]:
        assert "test_exp" in case["id"]
    assert "reference:cpu" in done.stdout


def test_same_verdicts_twice_and_with_more_jobs(hal: Any, tmp_path: Path) -> None:
    verdicts = []
    for jobs in ("1", "2", "4"):
        path = tmp_path / f"{jobs}.json"
        done = hal("conformance", "-d", "ort:cpu", "-k", "softmax", "-j", jobs, "--json", str(path))
        assert done.returncode == 0, done.stderr
        verdicts.append({c["id"]: c["outcome"] for c in read(path)["cases"]})
    assert verdicts[0] == verdicts[1] == verdicts[2]
    assert len(verdicts[0]) > 20


def interrupt(environment: dict[str, str], path: Path, signal_number: int) -> int:
    """Start a run that hangs in one case, and stop it when the others are on disk."""
    command = [sys.executable, "-m", "hal", "conformance", "-d", "faulty:cpu", "--json", str(path)]
    process = subprocess.Popen(
        [*command, *RIGHT, "-k", "onnx/nod[e]/test_acosh", "-j", "2"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    journals = Path(environment["HAL_HOME"]) / "data" / "runs"
    deadline = time.monotonic() + 60
    while sum(len(f.read_text().splitlines()) for f in journals.glob("*/*.jsonl")) < 5:
        assert time.monotonic() < deadline, "the other cases did not run"
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal_number)
    return process.wait(timeout=30)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_interrupted_run_resumes(
    hal: Any, environment: dict[str, str], tmp_path: Path, how: int
) -> None:
    path = tmp_path / "report.json"
    code = interrupt(environment, path, how)
    if how == signal.SIGINT:
        assert code == 130
        first = read(path)
        assert not first["complete"]
        assert first["scores"] is None
        assert first["outcomes"]["not-run"] == 1
        assert first["outcomes"]["pass"] == 5
    done = hal(
        *("conformance", "-d", "faulty:cpu", "--json", str(path), "--resume", "--timeout", "2"),
        *(*RIGHT, "-k", "onnx/nod[e]/test_acosh"),
    )
    assert done.returncode == 0, done.stderr
    second = read(path)
    assert second["complete"]
    assert second["outcomes"]["pass"] == 5
    assert second["outcomes"]["timeout"] == 1
    assert any("5 results come from an earlier" in note for note in second["notes"])


def test_without_resume_everything_runs_again(hal: Any, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    for _ in range(2):
        done = hal("conformance", "-d", "reference:cpu", "-k", "test_exp", "--json", str(path))
        assert done.returncode == 0, done.stderr
    assert not any("earlier" in note for note in read(path)["notes"])


@pytest.mark.parametrize(("gate", "code"), [("cases=100", 1), ("cases=5", 0)])
def test_gate(hal: Any, gate: str, code: int) -> None:
    done = hal(
        "conformance", "-d", "ort:cpu", "-k", "test_dft", "-k", "test_abs", "--fail-under", gate
    )
    assert done.returncode == code, done.stderr
    assert ("cases under 100 %" in done.stderr) is bool(code)


WRONG_INPUT = {
    "device": (("-d", "ort:cpx"), 2, "Did you mean 'ort:cpu'?"),
    "backend": (("-d", "orf:cpu"), 2, "no backend named 'orf'"),
    "profile": (("--profile", "visoin"), 2, "Did you mean 'vision'?"),
    "suite": (("--suite", "onxn"), 2, "Did you mean 'onnx'?"),
    "pattern": (("-k", "sotfmax"), 2, "no case matches 'sotfmax'"),
    "gate": (("--fail-under", "sells=90"), 2, "Did you mean 'cells'?"),
    "option": (("--option", "precision"), 2, "expected KEY=VALUE"),
    "no such option": (("--option", "nonsense=1", "-k", "test_abs"), 2, "no option 'nonsense'"),
    "json": (("--json", "/nowhere/report.json"), 4, "/nowhere"),
    "junit": (("--junit", "/nowhere/report.xml"), 4, "/nowhere"),
    "jobs": (("--jobs", "0"), 2, "jobs"),
}


@pytest.mark.parametrize("name", WRONG_INPUT)
def test_wrong_input_is_one_clear_line(hal: Any, name: str) -> None:
    arguments, code, text = WRONG_INPUT[name]
    device = () if "-d" in arguments else ("-d", "ort:cpu")
    done = hal("conformance", *device, *arguments)
    assert done.returncode == code, done.stderr
    assert text in done.stderr
    assert "Traceback" not in done.stderr
    assert not done.stdout


def test_full_disk_loses_nothing(hal: Any, tmp_path: Path) -> None:
    if not os.access("/dev/full", os.W_OK):
        pytest.skip("no /dev/full here")
    done = hal("conformance", "-d", "reference:cpu", "-k", "test_exp", "--json", "/dev/full")
    assert done.returncode == 4
    assert "No space left" in done.stderr
    assert "--resume" in done.stderr
    path = tmp_path / "report.json"
    done = hal(
        *("conformance", "-d", "reference:cpu", "-k", "test_exp", "--json", str(path), "--resume")
    )
    assert done.returncode == 0, done.stderr
    assert any("come from an earlier" in note for note in read(path)["notes"])
