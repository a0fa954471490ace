"""JUnit XML: every case is in it, with the right element, whatever a reason holds."""

from __future__ import annotations

import dataclasses
import xml.etree.ElementTree as ET
from pathlib import Path

from hal_conformance.junit import render_junit, write_junit
from hal_conformance.report import (
    CaseResult,
    ContractInfo,
    DeviceReport,
    Environment,
    Limits,
    Report,
    Selection,
)
from hal_conformance.scoring import count_classes, count_outcomes
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up import deep_report, device_report, facts

from hal import Device, Outcome


def make_report(
    results: list[CaseResult], device: str = "x:cpu", problems: tuple[str, ...] = ()
) -> DeviceReport:
    return DeviceReport(
        device=Device(device, "cpu", versions={"sdk": "1\x07"}),
        contract=ContractInfo("1", "1.23.2"),
        suites=("onnx",),
        complete=False,
        wall_seconds=2.0,
        scores=None,
        outcomes=count_outcomes(results),
        classes=count_classes(results),
        operators=(),
        cases=tuple(results),
        environment=Environment.here([]),
        limits=Limits(),
        selection=Selection("onnx"),
        problems=problems,
    )


def parse(*reports: DeviceReport) -> ET.Element:
    return ET.fromstring(render_junit(Report(reports)).encode())


def tag_of(case: ET.Element) -> str:
    tags = [child.tag for child in case]
    assert len(tags) <= 1
    return tags[0] if tags else ""


TAGS = {
    Outcome.PASS: "",
    Outcome.WRONG: "failure",
    Outcome.FALLBACK: "failure",
    Outcome.ERROR: "error",
    Outcome.CRASH: "error",
    Outcome.TIMEOUT: "error",
    Outcome.MEMORY: "error",
    Outcome.UNSUPPORTED: "skipped",
    Outcome.SKEW: "skipped",
    Outcome.UNFED: "skipped",
    Outcome.DISPUTED: "skipped",
    Outcome.NOT_RUN: "skipped",
}


def test_every_outcome_has_its_element_and_the_counts_agree() -> None:
    results = [
        CaseResult(f"onnx/node/test_{o.value}", ("A",), o, reason="why", seconds=0.25)
        for o in Outcome
    ]
    root = parse(make_report(results), make_report(results[:2], "y:gpu"))
    suites = root.findall("testsuite")
    assert [s.get("name") for s in suites] == ["x:cpu", "y:gpu"]
    cases = {c.get("name"): c for c in suites[0].findall("testcase")}
    assert {o: tag_of(cases[f"test_{o.value}"]) for o in Outcome} == TAGS
    wrong = cases["test_wrong"]
    assert wrong.get("classname") == "x:cpu.onnx.node"
    assert wrong.get("time") == "0.250000"
    failure = wrong.find("failure")
    assert failure is not None
    assert (failure.get("message"), failure.get("type")) == ("why", "wrong")
    counts = [{k: s.get(k) for k in ("tests", "failures", "errors", "skipped")} for s in suites]
    assert counts[0] == {"tests": "12", "failures": "2", "errors": "4", "skipped": "5"}
    assert (root.get("tests"), root.get("failures"), root.get("time")) == ("14", "3", "4.000000")


def test_scores_are_properties_and_an_incomplete_run_has_none() -> None:
    whole = device_report("x:npu", facts(40), lambda i: Outcome.WRONG if i % 4 else Outcome.PASS)
    part = device_report("y:npu", facts(4), lambda i: Outcome.NOT_RUN)
    root = parse(whole, part)
    first, second = (
        {str(p.get("name")): p.get("value") for p in suite.iter("property")} for suite in root
    )
    assert first["score cases"] == "10/40 (25.0 %)"
    assert whole.scores and first["score cells, full"] == str(whole.scores.cells)
    assert not [name for name in second if name.startswith("score")]


def test_expectations_decide_what_is_red() -> None:
    base = CaseResult("onnx/node/test_a", ("A",), Outcome.WRONG, reason="why")
    crash = dataclasses.replace(base, outcome=Outcome.CRASH)
    passes = dataclasses.replace(base, outcome=Outcome.PASS, reason="")
    skew = dataclasses.replace(base, outcome=Outcome.SKEW)
    for result, expected, tag in (
        (base, "xfail", "skipped"),
        (crash, "xfail", "skipped"),
        (skew, "unsupported", "skipped"),
        (passes, "stale", "failure"),
        (base, "unexpected", "failure"),
        (crash, "unexpected", "error"),
        (skew, "unexpected", "failure"),
    ):
        root = parse(make_report([dataclasses.replace(result, expected=expected)]))
        case = root.find("testsuite/testcase")
        assert case is not None
        assert tag_of(case) == tag


def test_what_deep_found_is_skipped_as_it_leaves_the_run_green() -> None:
    one = device_report("a:npu", facts(3), lambda i: Outcome.PASS)
    report = Report((dataclasses.replace(one, deep=deep_report()),))
    root = ET.fromstring(render_junit(report))
    assert [root.get(n) for n in ("tests", "failures", "errors", "skipped")] == ["4", "0", "0", "1"]
    (case,) = (c for c in root.iter("testcase") if c.get("name") == "int64-deep-1")
    assert case.get("classname") == "a:npu.contract.Equal-19"
    assert "crash, beside the score" in str(case.find("skipped").get("message"))  # type: ignore[union-attr]


def test_what_else_makes_a_run_red_is_a_failure_of_its_own() -> None:
    passes = CaseResult("onnx/node/test_a", ("A",), Outcome.PASS)
    root = parse(make_report([passes], problems=("a gate", "a stale line")))
    assert (root.get("tests"), root.get("failures")) == ("2", "1")
    failure = root.find("testsuite/testcase[@name='run']/failure")
    assert failure is not None
    assert failure.get("message") == "a gate"
    assert failure.text == "a gate\na stale line"


@given(st.text(st.characters(), max_size=30) | st.just("\ud800 \x00 \x1b[31m ]]> <&\"' \uffff"))
@settings(max_examples=100, deadline=None)
def test_any_text_gives_valid_xml(text: str) -> None:
    result = CaseResult(f"onnx/{text}", ("A",), Outcome.WRONG, reason=text)
    root = parse(make_report([result], problems=(text,)))
    assert root.get("failures") == "2"
    prop = root.find("testsuite/properties/property[@name='version sdk']")
    assert prop is not None
    assert prop.get("value") == "1\ufffd"


def test_it_is_written_as_utf8(tmp_path: Path) -> None:
    result = CaseResult("onnx/node/test_a", ("A",), Outcome.WRONG, reason="ε ≠ 0")
    write_junit(Report((make_report([result]),)), tmp_path / "junit.xml")
    failure = ET.parse(tmp_path / "junit.xml").find("testsuite/testcase/failure")
    assert failure is not None
    assert failure.get("message") == "ε ≠ 0"
