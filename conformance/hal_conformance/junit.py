"""JUnit XML of a report, for CI systems: a test suite per device, a test case per case."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from pathlib import Path

from hal import Outcome, OutcomeClass
from hal_conformance._files import write_text
from hal_conformance.report import CaseResult, DeviceReport, Report
from hal_conformance.side_by_side import score_rows

__all__ = ["render_junit", "write_junit"]

_SKIPPED = (
    Outcome.UNSUPPORTED,
    Outcome.SKEW,
    Outcome.UNFED,
    Outcome.DISPUTED,
    Outcome.NOT_RUN,
)
# What XML 1.0 cannot hold, even escaped: section 2.2 of the recommendation.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_junit(report: Report, path: Path) -> None:
    """Write JUnit XML, whole or not at all. Raises OutputError naming the path."""
    write_text(path, render_junit(report))


def render_junit(report: Report) -> str:
    """The report as JUnit XML.

    A case that is wrong, fell back or is not as the expectations say is a failure; one that broke
    is an error; one that the backend declined, that has no verdict or that is an expected failure
    is skipped; so is what --depth deep found, which leaves the run green. What else makes the run
    red is a test case of its own, named "run".
    """
    root = ET.Element("testsuites", name="hal conformance")
    suites = [_suite(root, r) for r in report.reports]
    _count(root, (case for suite in suites for case in suite.iter("testcase")))
    root.set("time", _seconds(sum(r.wall_seconds for r in report.reports)))
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=False).join(
        ("<?xml version='1.0' encoding='utf-8'?>\n", "\n")
    )


def _suite(root: ET.Element, report: DeviceReport) -> ET.Element:
    suite = ET.SubElement(root, "testsuite", name=_clean(report.device.id))
    properties = ET.SubElement(suite, "properties")
    facts = {
        "kind": report.device.kind,
        "emulated": str(report.device.emulated).lower(),
        "precision": report.device.precision or "float32",
        "complete": str(report.complete).lower(),
        "contract": f"{report.contract.version} (onnx {report.contract.onnx})",
        **{f"score {row.name}": str(row.scores[0]) for row in score_rows([report])},
        **{f"version {name}": version for name, version in report.device.versions.items()},
    }
    for name, value in facts.items():
        ET.SubElement(properties, "property", name=_clean(name), value=_clean(value))
    for result in report.cases:
        _case(suite, report.device.id, result)
    for result in report.deep.failures if report.deep else ():
        text = f"{result.outcome.value}, beside the score: {result.reason}"
        _child(_named(suite, report.device.id, result), "skipped", text, "deep")
    if report.problems:
        run = ET.SubElement(suite, "testcase", classname=_clean(report.device.id), name="run")
        run.set("time", "0")
        _child(run, "failure", report.problems[0], "run", "\n".join(report.problems))
    _count(suite, suite.iter("testcase"))
    suite.set("time", _seconds(report.wall_seconds))
    return suite


def _named(suite: ET.Element, device: str, result: CaseResult) -> ET.Element:
    folder, _, name = result.id.rpartition("/")
    return ET.SubElement(
        suite,
        "testcase",
        classname=_clean(f"{device}.{folder.replace('/', '.')}"),
        name=_clean(name),
        time=_seconds(result.seconds),
    )


def _case(suite: ET.Element, device: str, result: CaseResult) -> None:
    case = _named(suite, device, result)
    outcome, reason = result.outcome, result.reason or result.outcome.value
    if result.expected == "stale":
        text = "passes, but the expectations list it as failing"
        _child(case, "failure", text, "stale")
    elif result.expected in ("unsupported", "xfail"):
        _child(case, "skipped", f"expected ({result.expected}): {reason}", outcome.value)
    elif outcome is Outcome.PASS:
        return
    elif outcome in _SKIPPED and not result.expected:
        _child(case, "skipped", reason, outcome.value)
    elif outcome.outcome_class is OutcomeClass.BROKEN:
        _child(case, "error", reason, outcome.value, reason)
    else:
        _child(case, "failure", reason, outcome.value, reason)


def _child(case: ET.Element, tag: str, message: str, kind: str, text: str = "") -> None:
    line = " ".join(_clean(message).split())
    child = ET.SubElement(case, tag, message=line, type=kind)
    if text and text != line:
        child.text = _clean(text)


def _count(element: ET.Element, cases: Iterable[ET.Element]) -> None:
    found = list(cases)
    element.set("tests", str(len(found)))
    for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        element.set(name, str(sum(case.find(tag) is not None for case in found)))


def _seconds(value: float) -> str:
    return f"{value:.6f}"


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", text)
