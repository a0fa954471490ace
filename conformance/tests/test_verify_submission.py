"""`hal verify` on a submission of a real run: accepted as it is, and refused for each edit of it.

Unless a test is about the manifest, the edited folder gets a manifest that fits it again, so that
the reason is the one that the test is about.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hal_conformance.journal import sealed
from hal_conformance.report import from_json, to_json
from hal_conformance.scoring import build_report
from hal_conformance.session import choose_cases, contract_of, headline_of
from hal_conformance.submission import MANIFEST, REPORT, read_submission
from hal_conformance.verify import Verification, verify

from hal import Outcome
from hal.cli import main
from hal.plugins import Registry, load_plugins

DEVICE = "ort:cpu"
LOG = "logs/ort-cpu.jsonl"
EXPECTATIONS = "expectations/ort.toml"
Json = Any
Line = dict[str, Any]


@pytest.fixture(scope="module")
def submitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("submission") / "made"
    arguments = ["conformance", "-d", DEVICE, "--profile", "core", "--submission", str(folder)]
    assert main(arguments) == 0
    return folder


@pytest.fixture
def folder(submitted: Path, tmp_path: Path) -> Path:
    shutil.copytree(submitted, tmp_path / "copy")
    return tmp_path / "copy"


@pytest.fixture(scope="module")
def registry() -> Iterator[Registry]:
    with load_plugins() as found:
        yield found


@pytest.fixture
def problems(registry: Registry, folder: Path) -> Callable[..., dict[str, list[str]]]:
    """The problems of that folder by check, those without any left out."""

    def ask(**options: int) -> dict[str, list[str]]:
        found = verify(registry, read_submission(folder), seed=1, **options)
        named = by_check(found)
        assert found.accepted is not bool(named)
        return named

    return ask


def by_check(found: Verification) -> dict[str, list[str]]:
    checks = [found.folder, *(c for d in found.devices for c in d.checks)]
    return {c.name: list(c.problems) for c in checks if c.problems}


def edit_report(folder: Path, change: Callable[[Json], None]) -> None:
    document = json.loads((folder / REPORT).read_text())
    change(document["reports"][0])
    (folder / REPORT).write_text(json.dumps(document))
    fit_manifest(folder)


def edit_log(folder: Path, change: Callable[[list[Line]], None], *, seal: bool) -> None:
    """`seal`: give every line the seal that a run would have given it."""
    lines = [json.loads(line) for line in (folder / LOG).read_text().splitlines()]
    change(lines)
    texts = [json.dumps(line) for line in lines]
    last = lines[-1]["seal"]
    if seal:
        last, texts = "", []
        for line in lines:
            del line["seal"]
            text, last = sealed(line, last)
            texts.append(text)
    (folder / LOG).write_text("".join(f"{text}\n" for text in texts))
    fit_manifest(folder, last)


def fit_manifest(folder: Path, seal: str = "") -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    for name in manifest["files"]:
        manifest["files"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    if seal:
        manifest["devices"][0]["seal"] = seal
    (folder / MANIFEST).write_text(json.dumps(manifest))


def failing(rows: list[Json]) -> Json:
    return next(r for r in rows if r.get("outcome") in ("unsupported", "skew"))


def test_a_real_submission_is_accepted(
    problems: Callable[..., dict[str, list[str]]], folder: Path
) -> None:
    assert problems(sample=10**6, rerun=5) == {}
    files = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    assert files == {MANIFEST, REPORT, LOG, EXPECTATIONS}


def test_the_command(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(folder), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == "hal.verify/1" and found["accepted"] is True
    names = [check["name"] for check in found["devices"][0]["checks"]]
    assert names == ["complete", "log", "versions", "cases", "expectations", "scores", "digests"]
    edit_report(folder, lambda report: report["cases"].pop())
    assert main(["verify", str(folder)]) == 1
    out = capsys.readouterr().out
    assert "cases of the suite are missing (1): onnx/" in out and "refused" in out


def test_a_case_removed(problems: Callable[..., dict[str, list[str]]], folder: Path) -> None:
    removed: list[str] = []
    edit_report(folder, lambda report: removed.append(report["cases"].pop(7)["id"]))
    assert problems() == {"cases": [f"cases of the suite are missing (1): {removed[0]}"]}


def test_a_case_removed_from_report_and_log(
    problems: Callable[..., dict[str, list[str]]], folder: Path
) -> None:
    edit_report(folder, lambda report: report["cases"].pop())
    edit_log(folder, lambda lines: lines.pop(), seal=True)
    assert "missing" in problems()["cases"][0]


def test_a_case_of_ones_own(problems: Callable[..., dict[str, list[str]]], folder: Path) -> None:
    edit_report(folder, lambda r: r["cases"].append({**r["cases"][0], "id": "onnx/node/easy"}))
    found = problems()
    assert found["cases"] == ["cases are not the suite's (1): onnx/node/easy"]
    assert "the log has no result" in found["log"][0]


def test_an_outcome_edited(problems: Callable[..., dict[str, list[str]]], folder: Path) -> None:
    def better(report: Json) -> None:
        failing(report["cases"]).update(outcome="pass", reason="")

    edit_report(folder, better)
    found = problems()
    assert "pass in the report" in found["log"][0] and "in the log" in found["log"][0]
    assert any(problem.startswith("cases: ") for problem in found["scores"])
    assert not any("Score(" in problem for problem in found["scores"])


def test_an_outcome_edited_in_the_log_too(
    problems: Callable[..., dict[str, list[str]]], folder: Path
) -> None:
    better = {"outcome": "pass", "reason": ""}
    edit_report(folder, lambda report: failing(report["cases"]).update(better))
    edit_log(folder, lambda lines: failing(lines).update(better), seal=False)
    (said,) = problems()["log"]
    assert said.startswith("the log was altered: line ")


@pytest.mark.parametrize("keep", [-1, 5], ids=["last", "most"])
def test_lines_cut_off_the_log(
    keep: int, problems: Callable[..., dict[str, list[str]]], folder: Path
) -> None:
    lines = (folder / LOG).read_text().splitlines(keepends=True)
    (folder / LOG).write_text("".join(lines[:keep]))
    fit_manifest(folder)
    assert "its last line is not the one that was submitted" in problems()["log"][0]


def forge(folder: Path, registry: Registry) -> None:
    """One failure made a pass in all places at once, by someone who knows the format."""
    edit_log(folder, lambda ls: failing(ls).update(outcome="pass", reason=""), seal=True)
    document = json.loads((folder / REPORT).read_text())
    failing(document["reports"][0]["cases"]).update(outcome="pass", reason="", evidence="")
    (report,) = from_json(document).reports
    suite, cases = choose_cases(registry, "onnx", "core", ())
    table, cells = contract_of(suite, cases)
    fields = ("suites", "wall_seconds", "environment", "limits", "selection", "problems", "notes")
    again = build_report(
        report.device,
        cases,
        [
            dataclasses.replace(r, expected="") if r.outcome is Outcome.PASS else r
            for r in report.cases
        ],
        contract=table,
        contract_cells=cells,
        profile=headline_of(report.device, suite, "core"),
        **{name: getattr(report, name) for name in fields},
    )
    (folder / REPORT).write_text(
        json.dumps(to_json(dataclasses.replace(from_json(document), reports=(again,))))
    )
    fit_manifest(folder)


def test_a_whole_forgery_is_found_by_running_it_again_alone(
    problems: Callable[..., dict[str, list[str]]], folder: Path, registry: Registry
) -> None:
    forge(folder, registry)
    assert problems() == {}, "nothing in the folder contradicts it: docs/submissions.md says so"
    (said,) = problems(rerun=10**6)["rerun"]
    assert said.startswith("cases end otherwise (1): ") and "pass in the report" in said


def test_a_score_edited(problems: Callable[..., dict[str, list[str]]], folder: Path) -> None:
    def better(report: Json) -> None:
        report["scores"]["cells"]["passed"] += 1

    edit_report(folder, better)
    ((name, (said,)),) = problems().items()
    assert name == "scores" and said.startswith("cells: ")


def test_a_cell_edited(problems: Callable[..., dict[str, list[str]]], folder: Path) -> None:
    edit_report(folder, lambda r: r["cases"][0].update(cells=["Abs-13/T/tensor(double)"]))
    assert "other operators or cells" in problems()["cases"][0]


def test_a_failure_called_disputed(
    problems: Callable[..., dict[str, list[str]]], folder: Path
) -> None:
    edit_report(folder, lambda r: failing(r["cases"]).update(outcome="disputed"))
    edit_log(folder, lambda lines: failing(lines).update(outcome="disputed"), seal=True)
    assert "the suite does not dispute them" in problems()["cases"][0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda r: r["device"]["versions"].update(onnxruntime="9.9"), "onnxruntime is 9.9"),
        (lambda r: r["device"].update(versions={}), "onnxruntime is missing in the report"),
        (lambda r: r["contract"].update(version="0"), "the contract is 0 (onnx "),
        (lambda r: r["environment"]["packages"].update(onnx="1.2"), "onnx is 1.2, and"),
    ],
    ids=["device", "no-versions", "contract", "package"],
)
def test_a_version_that_does_not_match(
    change: Callable[[Json], None],
    said: str,
    problems: Callable[..., dict[str, list[str]]],
    folder: Path,
) -> None:
    edit_report(folder, change)
    assert problems()["versions"][0].startswith(said)


def test_cases_of_another_release(
    problems: Callable[..., dict[str, list[str]]], folder: Path
) -> None:
    edit_log(folder, lambda lines: lines[0].update(suite="onnx 1.19.0"), seal=True)
    assert "the cases are made from 'onnx 1.19.0'" in problems()["versions"][0]


def test_an_incomplete_run(problems: Callable[..., dict[str, list[str]]], folder: Path) -> None:
    def stop(report: Json) -> None:
        report["cases"][-1].update(outcome="not-run", evidence="", reason="")
        report.update(complete=False, scores=None)

    edit_report(folder, stop)
    (said,) = problems()["complete"]
    assert said.startswith("the run is incomplete: 1 of ")


def test_a_part_of_a_suite(problems: Callable[..., dict[str, list[str]]], folder: Path) -> None:
    edit_report(folder, lambda report: report["selection"].update(pattern="softmax"))
    assert "a part of a suite is no score" in problems()["complete"][0]


def test_a_run_with_no_result_is_no_score(
    problems: Callable[..., dict[str, list[str]]], folder: Path
) -> None:
    edit_report(folder, lambda report: report.update(cases=[]))
    assert "a run with no result is no score" in problems()["complete"][0]
    (folder / REPORT).write_text('{"schema": "hal.conformance/1", "reports": []}')
    fit_manifest(folder)
    assert "a run with no result is no score" in problems()["folder"][0]


def test_an_expectation_without_a_reason(
    problems: Callable[..., dict[str, list[str]]], folder: Path
) -> None:
    text = (folder / EXPECTATIONS).read_text()
    start = text.index("reason = ")
    (folder / EXPECTATIONS).write_text(text[:start] + text[text.index("\n", start) :])
    fit_manifest(folder)
    ((name, (said,)),) = problems().items()
    assert name == "expectations" and said.endswith("reason is missing")


def test_other_expectations_than_the_marks_in_the_report(
    problems: Callable[..., dict[str, list[str]]], folder: Path
) -> None:
    (folder / EXPECTATIONS).write_text(
        '[[expect]]\npattern = "onnx/node/test_add"\nstatus = "xfail"\nreason = "slow"\n'
    )
    fit_manifest(folder)
    assert "its case passes: remove the line" in " ".join(problems()["expectations"])


def test_another_case_under_the_same_id(
    problems: Callable[..., dict[str, list[str]]], folder: Path
) -> None:
    def other(lines: list[Line]) -> None:
        model, inputs, outputs = lines[3]["digest"].split(":")
        lines[3]["digest"] = f"{model}:{inputs[::-1]}:{outputs}"

    edit_log(folder, other, seal=True)
    first, second = problems(sample=10**6)["digests"]
    assert first.startswith("cases are not what their ids give here (1): ")
    assert first.endswith("(inputs)") and "numpy" in second


def test_an_oracle_that_rounds_otherwise_is_told(folder: Path, registry: Registry) -> None:
    def other(lines: list[Line]) -> None:
        lines[3]["digest"] = lines[3]["digest"][:-1] + "x"

    edit_log(folder, other, seal=True)
    found = verify(registry, read_submission(folder), sample=10**6)
    (said,) = [c.said for c in found.devices[0].checks if c.name == "digests"]
    assert found.accepted and said.endswith(
        ", 1 with expected outputs that differ from those of the run"
    )


@pytest.mark.parametrize("name", [REPORT, LOG, EXPECTATIONS])
def test_a_file_that_is_not_the_one_submitted(
    name: str, problems: Callable[..., dict[str, list[str]]], folder: Path
) -> None:
    (folder / name).write_text((folder / name).read_text() + "\n")
    assert problems() == {"folder": [f"{name} is not the file that was submitted"]}


def write_manifest(folder: Path, **changes: object) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**manifest, **changes}))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (shutil.rmtree, "is no submission"),
        (lambda f: (f / MANIFEST).unlink(), "is no submission"),
        (lambda f: (f / MANIFEST).write_text("{"), "not JSON"),
        (lambda f: (f / MANIFEST).write_text("[]"), "its schema is None"),
        (lambda f: write_manifest(f, schema="hal.submission/2"), "'hal.submission/2'"),
        (lambda f: write_manifest(f, devices=[1]), "lacks its log or seal"),
        (lambda f: write_manifest(f, files={}), "no digest of"),
        (
            lambda f: write_manifest(
                f, files={"../made": "", REPORT: "", LOG: "", EXPECTATIONS: ""}
            ),
            "leads out of the folder",
        ),
        (lambda f: (f / LOG).unlink(), "No such file"),
        (lambda f: (f / REPORT).write_text('{"schema": "hal.compare/1"}'), "not a conformance"),
        (lambda f: (f / REPORT).write_text(""), "cut short"),
    ],
    ids=range(11),
)
def test_what_is_no_submission(
    spoil: Callable[[Path], None], said: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(folder)
    assert main(["verify", str(folder)]) == 3
    error = capsys.readouterr().err
    assert error.startswith("error: ") and said in error


def test_a_submission_that_cannot_be_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = ["conformance", "-d", "example:cpu", "--submission"]
    assert main([*run, str(tmp_path / "new"), "-k", "softmax"]) == 2
    assert "-k takes a part" in capsys.readouterr().err
    (tmp_path / "file").write_text("x")
    assert main([*run, str(tmp_path)]) == 2
    assert main([*run, str(tmp_path / "file")]) == 4
    assert "cannot write" in capsys.readouterr().err
