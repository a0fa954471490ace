"""`hal-conformance import`, and the runner of docs/other-languages.md, which needs onnxruntime
alone."""

from __future__ import annotations

import importlib.resources
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from blocked import BLOCKER
from hal_conformance.app import main
from hal_conformance.report import DeviceReport, read

from hal import Outcome
from hal.cli import main as hal

TWICE = "contract/NonZero-13/string-matrix"
PAGE = Path(__file__).parents[2] / "docs" / "other-languages.md"
CHOSEN = ["-k", "contract/Softmax-13/float*", "-k", "contract/Gather-13/string-*"]
CHOSEN += ["-k", "contract/RandomNormal-22/float-*", "-k", "contract/NonZero-13/string-*"]
CHOSEN += ["-k", "contract/Sin-22/bfloat16-*"]


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the runner's results, for cases of which onnxruntime fails some."""
    root = tmp_path_factory.mktemp("runner")
    assert main(["export", str(root / "cases"), *CHOSEN]) == 0
    block = re.search(r"```python file=runner.py\n(.*?)^```$", PAGE.read_text(), re.M | re.S)
    assert block
    (root / "runner.py").write_text(BLOCKER + block[1], encoding="utf-8")
    (root / "results").mkdir()
    command = [sys.executable, "runner.py", "cases", "results"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return root


@pytest.fixture
def copy(runner: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(runner / "results", tmp_path / "results"))


def imported(results: Path, tmp_path: Path) -> DeviceReport:
    file = tmp_path / "report.json"
    assert main(["import", str(results), "--json", str(file)]) == 0
    return read(file).reports[0]


def change(folder: Path, **fields: Any) -> Path:
    document = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    (folder / "results.json").write_text(json.dumps(document | fields), encoding="utf-8")
    return folder / "results.json"


def rows(folder: Path) -> list[dict[str, Any]]:
    document = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    found: list[dict[str, Any]] = document["results"]
    return found


def test_the_schema_is_one_and_the_runner_keeps_to_it(runner: Path) -> None:
    file = importlib.resources.files("hal_conformance").joinpath("results.schema.json")
    schema = json.loads(file.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    document = json.loads((runner / "results" / "results.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(document)


def test_the_documented_runner_gets_the_verdicts_of_the_plugin(
    runner: Path, tmp_path: Path
) -> None:
    """The same engine by two ways: files and another process here, HAL's plugin there."""
    report = imported(runner / "results" / "results.json", tmp_path)
    assert report.complete and report.device.id == "myrunner:cpu"
    ours = tmp_path / "ours.json"
    patterns = ["--suite", "contract", "-d", "ort:cpu", *CHOSEN, "--json", str(ours)]
    assert hal(["conformance", *patterns]) == 0
    theirs = {r.id: r.outcome for r in read(ours).reports[0].cases}
    found = {r.id: r.outcome for r in report.cases}
    compared = [i for i in found if found[i] is not Outcome.UNFED]
    assert {found[i] for i in compared} >= {Outcome.PASS, Outcome.WRONG}
    assert {i: found[i] for i in compared} == {i: theirs[i] for i in compared}
    assert any("RandomNormal" in i for i in compared), "random outputs are judged here too"
    pair = ["--device", "ort:cpu=myrunner:cpu"]
    assert hal(["compare", *pair, str(ours), str(tmp_path / "report.json")]) in (0, 1)


def test_a_verdict_of_the_runner_counts_as_its_word(
    copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = rows(copy)
    softmax = [r for r in changed if "Softmax" in r["id"]]
    for row in softmax:
        row.pop("outputs", None)
        row["outcome"] = "pass"
    softmax[0].update(outcome="timeout", reason="60 s")
    report = imported(change(copy, results=changed), tmp_path)
    results = {r.id: r for r in report.cases}
    assert results[softmax[0]["id"]].outcome is Outcome.TIMEOUT
    assert results[softmax[0]["id"]].reason == "60 s"
    assert results[softmax[1]["id"]].outcome is Outcome.PASS
    given = sum("outcome" in row for row in changed)
    assert f"{len(changed) - given} results judged here, {given} by the runner" in report.notes[0]


def test_a_case_without_a_result_is_not_run(
    copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = imported(change(copy, results=rows(copy)[1:]), tmp_path)
    assert not report.complete and report.scores is None
    assert report.cases[0].outcome is Outcome.NOT_RUN
    assert f"incomplete: 1 of {len(report.cases)} cases" in capsys.readouterr().err


def test_outputs_that_are_damaged_or_missing_are_the_cases_fault(
    copy: Path, tmp_path: Path
) -> None:
    passing = [r for r in rows(copy) if "outputs" in r and "Softmax" in r["id"]][:2]
    files = [copy / row["outputs"] / "test_data_set_0" / "output_0.pb" for row in passing]
    files[0].write_bytes(b"\xff" * 50)
    files[1].unlink()
    results = {r.id: r for r in imported(copy / "results.json", tmp_path).cases}
    damaged, missing = (results[row["id"]] for row in passing)
    assert damaged.outcome is Outcome.ERROR and "no TensorProto" in damaged.reason
    assert missing.outcome is Outcome.WRONG and "is missing" in missing.reason


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"version": "contract 0"}, "other versions are other cases"),
        ({"schema": "hal.results/2"}, "not 'hal.results/1'"),
        ({"suite": "contact"}, "Did you mean 'contract'"),
        ({"suite": "torch"}, "runs its cases itself"),
        ({"device": {"id": "NPU", "kind": "npu"}}, "$.device.id"),
        ({"device": {"id": "a:b", "kind": "chip"}}, "$.device.kind"),
        ({"results": [{"id": "contract/Softmax-13/flaot", "outcome": "pass"}]}, "is no case"),
        ({"results": [{"id": "x"}]}, "$.results[0]"),
        ({"results": [{"id": "x", "outcome": "fine"}]}, "$.results[0].outcome"),
        ({"results": [{"id": "x", "outputs": "../.."}]}, "is not under"),
        ({"results": [{"id": "x", "outputs": "nowhere"}]}, "there is no folder"),
        ({"results": 2 * [{"id": TWICE, "outcome": "pass"}]}, "is there twice"),
        ({"selection": {"profile": "vison", "patterns": []}}, "Did you mean 'vision'"),
    ],
)
def test_results_that_do_not_fit(
    copy: Path, capsys: pytest.CaptureFixture[str], fields: dict[str, Any], said: str
) -> None:
    assert main(["import", str(change(copy, **fields))]) in (2, 3)
    assert said in capsys.readouterr().err


def test_a_random_case_wants_its_outputs(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = next(r for r in rows(copy) if "RandomNormal" in r["id"])
    results = change(copy, results=[{"id": row["id"], "outcome": "pass"}])
    assert main(["import", str(results)]) == 3
    assert "next: hand back its outputs" in capsys.readouterr().err


def test_files_that_are_no_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "results.json"
    for data in (b"", b'{"schema": "hal.results/1", "re', b"\xff\xfe", b"[" * 100_000, b"[]"):
        file.write_bytes(data)
        assert main(["import", str(file)]) == 3
        assert capsys.readouterr().err.startswith(f"error: {file}: ")
    assert main(["import", str(tmp_path)]) == 3
    assert main(["import", str(tmp_path / "none.json")]) == 3
    assert main(["import", str(file), "--json", str(tmp_path / "no" / "x.json")]) == 4
