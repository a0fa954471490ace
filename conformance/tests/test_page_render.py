"""The page: what it says, and that no text of a report is anything but text in it."""

from __future__ import annotations

import dataclasses
import html.parser
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hal_conformance.page import render_page
from hal_conformance.report import Report, Selection
from hal_conformance.side_by_side import differences, line_up
from made_up import HOSTILE, deep_report, device_report, facts, four_devices

from hal import Outcome
from hal.contract import contract
from hal.errors import DataError


class Reader(html.parser.HTMLParser):
    """What a page holds: its elements, the text that is shown, and its data."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.shown: list[str] = []
        self.raw: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        raw = self.tags[-1][0] in ("script", "style") if self.tags else False
        (self.raw if raw else self.shown).append(data)

    @property
    def data(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(next(t for t in self.raw if t.startswith("{")))
        return found


def page_of(*reports: Report) -> Reader:
    return Reader(render_page(line_up([(f"{i}.json", r) for i, r in enumerate(reports)])))


def test_the_summary_reads_without_a_script() -> None:
    report = four_devices(100)
    text = " ".join(" ".join(page_of(report).shown).split())
    for one in report.reports:
        assert one.scores and one.scores.headline
        assert one.device.id in text
        assert str(one.scores.headline.score) in text
        for score in (one.scores.cells, *(p.cells for p in one.scores.profiles)):
            assert str(score) in text
            assert f"{score.of_contract} in the contract" in text
    assert f"cells {len(contract().cells())} in the contract" in text
    assert text.count("emulated") >= 1


def test_nothing_is_loaded_from_anywhere() -> None:
    page = page_of(four_devices(20))
    links = [a.get(n) or "" for _, a in page.tags for n in ("src", "href", "action", "data")]
    assert {link for link in links if not link.startswith("#")} <= {"", "data:,"}
    policy = next(a["content"] for t, a in page.tags if t == "meta" and "http-equiv" in a)
    assert policy and policy.startswith("default-src 'none'")
    assert "http" not in "".join(page.raw).replace(HOSTILE, "")


def test_hostile_texts_stay_texts() -> None:
    cases = facts(3)
    hostile = dataclasses.replace(
        device_report("x:npu", cases, lambda i: Outcome.WRONG, reason=HOSTILE, notes=[HOSTILE]),
        problems=(HOSTILE,),
    )
    named = dataclasses.replace(
        hostile.device, id="x:npu", name=HOSTILE, versions={HOSTILE: HOSTILE}
    )
    page = page_of(Report((dataclasses.replace(hostile, device=named),)))
    assert not [t for t, _ in page.tags if t == "img"]
    assert len([t for t, _ in page.tags if t == "script"]) == 2
    assert page.data["reasons"] == [HOSTILE.replace("\ud800", "?")]
    assert any(t.strip().startswith("</script><img src=x") for t in page.shown)


def test_the_script_makes_no_html_of_text() -> None:
    source = (
        Path(sys.modules["hal_conformance.page"].__file__ or "").parent / "page.js"
    ).read_text()
    assert not [
        word
        for word in ("innerHTML", "outerHTML", "insertAdjacent", "eval(", "document.write")
        if word in source
    ]


def test_the_data_says_what_the_report_says() -> None:
    report = four_devices(50)
    data = page_of(report).data
    letters = {o["name"]: chr(97 + i) for i, o in enumerate(data["outcomes"])}
    for one, run in zip(report.reports, data["runs"], strict=True):
        assert run["outcomes"] == "".join(letters[r.outcome.value] for r in one.cases)
        told = [data["reasons"][i] if i >= 0 else "" for i in run["reasons"]]
        assert told == [r.reason.replace("\ud800", "?") for r in one.cases]
    for case, own in zip(report.reports[0].cases, data["in"], strict=True):
        (pair,) = own
        operator, _ = data["pairs"][pair]
        assert data["operators"][operator] == case.cells[0].partition("-")[0]


def test_a_case_that_a_report_lacks_is_no_result() -> None:
    few, many = facts(10)[:4], facts(10)
    data = page_of(
        Report((device_report("a:npu", few, lambda i: Outcome.PASS),)),
        Report((device_report("b:npu", many, lambda i: Outcome.PASS),)),
    ).data
    assert [run["outcomes"] for run in data["runs"]] == ["aaaa------", "aaaaaaaaaa"]


def test_the_map_has_the_cells_that_no_case_exercises() -> None:
    everything = page_of(four_devices(10)).data
    assert len(everything["contract"]) > 1500
    part = Selection("contract", "", "relu")
    some = device_report("a:npu", facts(10), lambda i: Outcome.PASS, selection=part)
    assert page_of(Report((some,))).data["contract"] == []


def test_an_incomplete_run_has_no_score() -> None:
    outcomes = {0: Outcome.NOT_RUN}
    one = device_report("a:npu", facts(10), lambda i: outcomes.get(i, Outcome.PASS))
    text = " ".join(" ".join(page_of(Report((one,))).shown).split())
    assert "incomplete: no score" in text
    assert "1 of 10 cases have not run" in text
    assert "9/10" not in text


def test_speed_is_shown_against_the_ceilings() -> None:
    page = page_of(four_devices(10))
    text = " ".join(" ".join(page.shown).split())
    assert "products 200 GFLOP/s · copies 20.0 GB/s" in text
    assert "emulated: no hardware's times" in text
    assert "float[1,64,56,56] · 40 nodes" in text and "· typical" in text
    styles = [str(a.get("style")) for t, a in page.tags if t == "span"]
    widths = [float(s.removeprefix("width: ").rstrip("%")) for s in styles if "width" in s]
    assert widths == pytest.approx([57.5, 28.7, 19.2, 80.3, 40.1, 26.8], abs=0.1)
    assert "0.50 ×" in text


def test_without_speed_there_is_no_such_section() -> None:
    one = device_report("a:npu", facts(3), lambda i: Outcome.PASS)
    assert not [a for _, a in page_of(Report((one,))).tags if a.get("href") == "#speed"]


def test_what_deep_found_is_shown_as_text() -> None:
    one = device_report("a:npu", facts(3), lambda i: Outcome.PASS)
    page = page_of(Report((dataclasses.replace(one, deep=deep_report()),)))
    assert "contract/Equal-19/int64-deep-1" in page.shown
    assert "deep: 1 minimal cases that fail" in page.shown
    assert any("</script><img src=x" in text for text in page.shown)
    assert not [t for t, _ in page.tags if t == "img"]


def test_a_report_of_nothing_is_refused() -> None:
    with pytest.raises(DataError, match="holds no device"):
        render_page(())


def test_runs_are_told_apart() -> None:
    cases = facts(2)
    old = device_report("a:npu", cases, lambda i: Outcome.PASS)
    new = dataclasses.replace(old, device=dataclasses.replace(old.device, versions={"sdk": "2"}))
    other = dataclasses.replace(old, selection=Selection("onnx"))
    runs = line_up([("x/old.json", Report((old,))), ("new.json", Report((new, other, new)))])
    assert [run.label for run in runs] == [
        "a:npu (contract) (1.2)",
        "a:npu (contract) (2) (no. 2)",
        "a:npu (onnx)",
        "a:npu (contract) (2) (no. 4)",
    ]
    assert differences(runs) == ("other suites, so the scores do not compare: contract, onnx",)
