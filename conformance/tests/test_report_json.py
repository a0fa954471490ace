"""The report's JSON: what is written is read again, fits its schema, and bad files say so."""

from __future__ import annotations

import copy
import dataclasses
import importlib.resources
import json
import time
import xml.etree.ElementTree as ET
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jsonschema
import pytest
from hal_conformance import report as report_module
from hal_conformance.report import (
    CaseResult,
    ContractInfo,
    DeviceReport,
    Environment,
    Headline,
    Limits,
    OperatorSummary,
    Report,
    Score,
    Scores,
    Selection,
    from_json,
    read,
    result_from_json,
    result_to_json,
    to_json,
    write,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from hal import Device, Evidence, Outcome
from hal.cli import main
from hal.errors import DataError
from hal.paths import cache_dir

DEVICE = Device(
    "board/ort:cpu:1",
    "cpu",
    name="a µ processor",
    memory=1 << 34,
    emulated=True,
    versions=MappingProxyType({"onnxruntime": "1.31.1"}),
    precision="bfloat16",
)


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    text = importlib.resources.files("hal_conformance").joinpath("report.schema.json").read_text()
    jsonschema.Draft202012Validator.check_schema(json.loads(text))
    return jsonschema.Draft202012Validator(json.loads(text))


def make_report(results: list[CaseResult], *, headline: bool = True) -> Report:
    complete = not any(r.outcome is Outcome.NOT_RUN for r in results)
    outcomes = {o.value: sum(r.outcome is o for r in results) for o in Outcome}
    scores = Scores(
        cases=Score(outcomes["pass"], len(results)),
        cells=Score(1, 2, of_contract=2949),
        operators_any=Score(1, 1),
        operators_all=Score(0, 1),
        grades=dict.fromkeys((e.value for e in Evidence), 0),
        headline=Headline("full", Score(1, 3)) if headline else None,
        disputed=("onnx/node/test_x",),
    )
    one = DeviceReport(
        device=DEVICE,
        contract=ContractInfo("1", "1.23.2"),
        suites=("onnx",),
        complete=complete,
        wall_seconds=1.5,
        scores=scores if complete else None,
        outcomes=outcomes,
        classes={"right here": 1, "wrong": 1, "not run here": 0, "broken": 0, "open": 0},
        operators=(
            OperatorSummary("Abs", 1, 2, True, 0.001, {"pass": 1, "wrong": 1}, ("wrong: NaN",)),
            OperatorSummary("ai.onnx.ml::Scaler", 0, 1, False, None, {"crash": 1}),
        ),
        cases=tuple(results),
        environment=Environment.here(["hal-core", "no-such-distribution"]),
        limits=Limits(),
        selection=Selection("onnx", "full", "abs"),
        problems=("a problem",),
        notes=("a note",),
    )
    return Report((one, dataclasses.replace(one, device=Device("x:cpu", "cpu"))))


RESULTS = [
    CaseResult("onnx/node/test_abs", ("Abs",), Outcome.PASS, "assigned", "", 0.001),
    CaseResult("onnx/node/test_b", ("A", "B"), Outcome.WRONG, "sole", "NaN\n", 0.1, "xfail"),
]

case_results = st.builds(
    CaseResult,
    id=st.from_regex(r"onnx/[a-z]{1,8}", fullmatch=True),
    operators=st.lists(st.text(max_size=5), max_size=3).map(tuple),
    outcome=st.sampled_from(Outcome),
    evidence=st.sampled_from(["", *(e.value for e in Evidence)]),
    reason=st.text(st.characters(), max_size=20) | st.just("lone \ud800 and \x00"),
    seconds=st.floats(0, 1e6),
    expected=st.sampled_from(["", "unsupported", "xfail", "stale", "unexpected"]),
)


@given(st.lists(case_results, max_size=5), st.booleans())
@settings(max_examples=60, deadline=None)
def test_what_is_written_is_read_again_and_fits_the_schema(
    results: list[CaseResult], headline: bool
) -> None:
    report = make_report(results, headline=headline)
    text = json.dumps(to_json(report), allow_nan=False)
    assert from_json(json.loads(text)) == report
    assert [result_from_json(result_to_json(r)) for r in results] == results
    schema = Path(report_module.__file__).with_name("report.schema.json").read_text()
    jsonschema.Draft202012Validator(json.loads(schema)).validate(json.loads(text))


def test_a_real_run_fits_the_schema_and_is_read_again(
    validator: jsonschema.Draft202012Validator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # The cases that are cached already, but no journal of the user's own runs.
    cache = cache_dir()
    cache.mkdir(parents=True, exist_ok=True)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "cache").symlink_to(cache)
    monkeypatch.setenv("HAL_HOME", str(tmp_path / "home"))
    file, junit = tmp_path / "report.json", tmp_path / "junit.xml"
    command = ["conformance", "--device", "reference:cpu", "-k", "onnx/node/test_a*", "--jobs", "2"]
    assert main([*command, "--json", str(file), "--junit", str(junit)]) == 0
    data = json.loads(file.read_text())
    validator.validate(data)
    (one,) = read(file).reports
    assert to_json(Report((one,))) == data
    assert one.complete
    assert one.scores is not None
    assert (
        one.scores.cases.passed
        == one.outcomes["pass"]
        == len(one.cases) - sum(n for name, n in one.outcomes.items() if name != "pass")
    )
    assert one.scores.cases.passed > 20
    assert {o.operator for o in one.operators} >= {"Abs", "Add", "And"}
    assert all(r.evidence and r.seconds > 0 for r in one.cases if r.outcome is Outcome.PASS)
    cases = ET.parse(junit).findall("testsuite/testcase")
    assert [c.get("name") for c in cases] == [r.id.rpartition("/")[2] for r in one.cases]
    assert main(["compare", str(file), str(file)]) == 0
    assert capsys.readouterr().out.rstrip().endswith("no regression")


def test_the_names_that_others_read_are_there() -> None:
    data = to_json(make_report(RESULTS))
    assert data["schema"] == "hal.conformance/1"
    one = data["reports"][0]
    assert one["device"]["id"] == "board/ort:cpu:1"
    assert one["device"]["kind"] == "cpu"
    assert one["device"]["emulated"] is True
    del one["device"]["precision"]  # as older reports have none
    assert from_json(data).reports[0].device.precision == ""
    assert one["contract"] == {"version": "1", "onnx": "1.23.2"}
    assert one["complete"] is True
    assert one["wall_seconds"] == 1.5
    assert one["scores"]["cases"] == {"passed": 1, "total": 2}
    assert one["scores"]["cells"] == {"passed": 1, "total": 2, "of_contract": 2949}
    assert one["scores"]["operators_any"] == {"passed": 1, "total": 1}
    assert one["scores"]["operators_all"] == {"passed": 0, "total": 1}
    assert one["outcomes"]["pass"] == 1
    assert one["cases"][0] == {
        "id": "onnx/node/test_abs",
        "operators": ["Abs"],
        "outcome": "pass",
        "evidence": "assigned",
        "reason": "",
        "seconds": 0.001,
    }


def test_the_schema_knows_every_outcome_class_and_grade(
    validator: jsonschema.Draft202012Validator,
) -> None:
    from hal import OutcomeClass

    definitions = validator.schema["$defs"]
    assert definitions["outcome"]["enum"] == [o.value for o in Outcome]
    properties = definitions["report"]["properties"]
    assert list(properties["outcomes"]["properties"]) == [o.value for o in Outcome]
    assert list(properties["classes"]["properties"]) == [c.value for c in OutcomeClass]
    grades = definitions["scores"]["properties"]["grades"]["properties"]
    assert list(grades) == [e.value for e in Evidence]


def _set(data: Any, path: str, value: Any) -> None:
    *parents, last = [int(p) if p.isdigit() else p for p in path.split(".")]
    for part in parents:
        data = data[part]
    if value is KeyError:
        del data[last]
    else:
        data[last] = value


WRONG = [
    ("reports.0.device.kind", "toaster"),
    ("reports.0.device.emulated", KeyError),
    ("reports.0.device.id", "no id"),
    ("reports.0.cases.0.outcome", "fine"),
    ("reports.0.cases.0.seconds", "fast"),
    ("reports.0.cases.0.operators", "Abs"),
    ("reports.0.cases.1.reason", KeyError),
    ("reports.0.cases.1.expected", 3),
    ("reports.0.outcomes.pass", True),
    ("reports.0.scores", None),
    ("reports.0.scores.cells.total", KeyError),
    ("reports.0.scores.grades", []),
    ("reports.0.complete", "yes"),
    ("reports.0.operators.0.median_seconds", "fast"),
    ("reports.0.environment.packages", {"numpy": 2}),
    ("reports.0.selection", KeyError),
    ("reports.0.contract", 1),
    ("reports.0", 7),
    ("reports", {}),
]


@pytest.mark.parametrize(("path", "value"), WRONG, ids=[w[0] for w in WRONG])
def test_a_wrong_report_fits_neither_the_schema_nor_the_reader(
    path: str, value: Any, validator: jsonschema.Draft202012Validator, tmp_path: Path
) -> None:
    data = copy.deepcopy(to_json(make_report(RESULTS)))
    assert validator.is_valid(data)
    _set(data, path, value)
    assert not validator.is_valid(data)
    file = tmp_path / "report.json"
    file.write_text(json.dumps(data))
    with pytest.raises(DataError, match=r"report\.json: .*reports"):
        read(file)


def test_a_wrong_place_is_named(tmp_path: Path) -> None:
    data = to_json(make_report(RESULTS))
    del data["reports"][1]["cases"][1]["outcome"]
    with pytest.raises(DataError, match=r"^reports\[1\]\.cases\[1\]: 'outcome' is missing$"):
        from_json(data)


def test_an_impossible_score_is_refused() -> None:
    data = to_json(make_report(RESULTS))
    data["reports"][0]["scores"]["cases"]["passed"] = 3
    with pytest.raises(DataError, match=r"reports\[0\]: a score of 3 out of 2"):
        from_json(data)


def test_names_of_a_later_minor_addition_are_skipped() -> None:
    data = to_json(make_report(RESULTS))
    data["later"] = data["reports"][0]["later"] = data["reports"][0]["cases"][0]["later"] = 1
    assert from_json(data) == make_report(RESULTS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cut short"),
        ("hello", "not JSON: Expecting value at line 1, column 1"),
        ('{"schema": NaN}', "not JSON: NaN is no JSON number"),
        ("[1]", "names no schema"),
        ('{"reports": []}', "names no schema"),
        ('{"schema": "hal.compare/1"}', "its schema is 'hal.compare/1', not 'hal.conformance/1'"),
        ('{"schema": "hal.conformance/x"}', "its schema is 'hal.conformance/x'"),
        (
            '{"schema": "hal.conformance/2"}',
            "this is hal.conformance/2, this HAL reads hal.conformance/1: upgrade",
        ),
        ('{"schema": "hal.conformance/0"}', "this is hal.conformance/0"),
        ('{"schema": "hal.conformance/1"}', "'reports' is no list of reports"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_what_is_no_report_says_so_and_names_the_file(
    text: str, message: str, tmp_path: Path
) -> None:
    file = tmp_path / "r.json"
    file.write_text(text)
    with pytest.raises(DataError) as caught:
        read(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert message in str(caught.value)


def test_a_newer_version_names_the_next_step() -> None:
    with pytest.raises(DataError) as caught:
        from_json({"schema": "hal.conformance/2"})
    assert caught.value.next_step == "pip install --upgrade hal-conformance"


def test_a_report_cut_anywhere_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "r.json"
    write(make_report(RESULTS), file)
    text = file.read_text().rstrip()
    for end in range(0, len(text), 97):
        file.write_text(text[:end])
        with pytest.raises(DataError, match=r"r\.json: "):
            read(file)
    file.write_text(text[: text.index("right here")])
    with pytest.raises(DataError, match="cut short"):
        read(file)


def test_a_file_that_is_missing_or_binary_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.json: No such file"):
        read(tmp_path / "none.json")
    (tmp_path / "b.json").write_bytes(b"\xff\xfe{}")
    with pytest.raises(DataError, match="not UTF-8"):
        read(tmp_path / "b.json")


def test_four_devices_of_the_official_suite_are_written_and_read_in_one_piece(
    tmp_path: Path,
) -> None:
    results = [
        CaseResult(f"onnx/node/test_{i}", ("Abs",), Outcome.PASS, "sole", "", i / 1e5)
        for i in range(2024)
    ]
    one = make_report(results).reports[0]
    report = Report((one,) * 4)
    start = time.perf_counter()
    write(report, tmp_path / "r.json")
    assert read(tmp_path / "r.json") == report
    print(f"written and read in {time.perf_counter() - start:.3f} s")  # shown with -s, not asserted
