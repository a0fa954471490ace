"""Whole runs of ONNX's official cases: each bundled engine against figures found independently."""

from __future__ import annotations

import importlib.metadata
import importlib.resources
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hal_example
import jsonschema
import pytest

from hal.paths import cache_dir

CASES = 2024
"""Of onnx 1.23.2."""

# What another runner over the same cases finds at these versions: how many of them pass.
FIGURES: dict[str, tuple[dict[str, str], int]] = {
    "reference:cpu": ({"onnx": "1.23.2"}, round(0.992 * CASES)),
    "ort:cpu": ({"onnx": "1.23.2", "onnxruntime": "1.31.1"}, 1590),
    "openvino:cpu": ({"onnx": "1.23.2", "openvino": "2026.4.1"}, round(0.802 * CASES)),
}
REFUSED_BY_ORT = (
    289  # the cases of opset 27 and 28 or IR 14, which onnxruntime 1.31.1 does not load
)
EXAMPLE_PASSES = 140

Report = dict[str, Any]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Data of its own, the suite's cache shared, and room for a plugin in `tmp_path`/site."""
    home = tmp_path / "home"
    home.mkdir()
    cache_dir().mkdir(parents=True, exist_ok=True)
    (home / "cache").symlink_to(cache_dir())
    (tmp_path / "site").mkdir()
    return {**os.environ, "HAL_HOME": str(home), "PYTHONPATH": str(tmp_path / "site")}


def measured(device: str, environment: Mapping[str, str], folder: Path, *more: str) -> Report:
    """The report of a whole run, which exits 0."""
    path = folder / "report.json"
    command = [sys.executable, "-m", "hal", "conformance", "-d", device, "--json", str(path)]
    done = subprocess.run(
        [*command, *more],
        env=dict(environment),
        capture_output=True,
        text=True,
        timeout=500,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(path.read_text())
    schema = importlib.resources.files("hal_conformance").joinpath("report.schema.json")
    jsonschema.Draft202012Validator(json.loads(schema.read_text())).validate(document)
    (report,) = document["reports"]
    assert report["device"]["id"] == device
    return dict(report)


def verdicts(report: Report) -> dict[str, str]:
    return {case["id"]: case["outcome"] for case in report["cases"]}


def other_versions(pins: Mapping[str, str]) -> list[str]:
    found = {name: importlib.metadata.version(name) for name in pins}
    return [f"{name} {found[name]}, not {pins[name]}" for name in pins if found[name] != pins[name]]


@pytest.mark.parametrize(
    "device",
    ["reference:cpu", "ort:cpu", pytest.param("openvino:cpu", marks=pytest.mark.slow)],
)
def test_engine_passes_what_another_runner_finds(
    device: str, environment: dict[str, str], tmp_path: Path
) -> None:
    report = measured(device, environment, tmp_path)
    outcomes = report["outcomes"]
    assert report["complete"]
    assert sum(outcomes.values()) == len(report["cases"])
    assert not any(outcomes[name] for name in ("crash", "timeout", "memory", "not-run"))
    assert not report["problems"]
    pins, passes = FIGURES[device]
    others = other_versions(pins)
    if others:
        pytest.skip(f"the figures are of other versions: {'; '.join(others)}")
    assert len(report["cases"]) == CASES
    assert abs(outcomes["pass"] - passes) <= 0.01 * passes
    if device == "ort:cpu":
        assert outcomes["skew"] == REFUSED_BY_ORT


@contextmanager
def busy_machine() -> Iterator[None]:
    spinners = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"])
        for _ in range(os.cpu_count() or 1)
    ]
    try:
        yield
    finally:
        for spinner in spinners:
            spinner.kill()
            spinner.wait()


@pytest.mark.slow
def test_no_verdict_changes_when_the_machine_is_busy(
    environment: dict[str, str], tmp_path: Path
) -> None:
    quiet = measured("ort:cpu", environment, tmp_path, "-j", "1")
    with busy_machine():
        busy = measured("ort:cpu", environment, tmp_path, "-j", "4")
    assert verdicts(busy) == verdicts(quiet)


def install_mutant(site: Path) -> str:
    """The example plugin with one kernel made wrong, as a plugin of its own; returns its device."""
    source = Path(hal_example.__file__).read_text(encoding="utf-8")
    for right, wrong in [
        ('table.kernel("Abs", 6, 13)(np.abs)', 'table.kernel("Abs", 6, 13)(np.negative)'),
        ('hal.Device("example:cpu"', 'hal.Device("mutant:cpu"'),
        ('hal.BackendSpec("example"', 'hal.BackendSpec("mutant"'),
    ]:
        assert source.count(right) == 1
        source = source.replace(right, wrong)
    (site / "hal_mutant.py").write_text(source, encoding="utf-8")
    info = site / "hal_mutant-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hal-mutant\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("[hal]\nmutant = hal_mutant\n")
    return "mutant:cpu"


def test_example_is_right_and_its_mutant_is_caught(
    environment: dict[str, str], tmp_path: Path
) -> None:
    right = measured("example:cpu", environment, tmp_path)
    assert right["outcomes"]["pass"] >= EXAMPLE_PASSES
    assert right["classes"]["wrong"] == right["classes"]["broken"] == 0
    mutant = measured(install_mutant(tmp_path / "site"), environment, tmp_path)
    before, after = verdicts(right), verdicts(mutant)
    changed = {case_id for case_id in before if before[case_id] != after[case_id]}
    assert "onnx/node/test_abs" in changed
    assert {before[i] for i in changed} == {"pass"}
    assert {after[i] for i in changed} == {"wrong"}
    assert all("Abs" in c["operators"] for c in mutant["cases"] if c["id"] in changed)
    score, mutant_score = (r["scores"]["cases"] for r in (right, mutant))
    assert mutant_score["passed"] == score["passed"] - len(changed)
    assert mutant_score["total"] == score["total"]
