"""Markdown: a table that a README can hold, whatever names are in it."""

from __future__ import annotations

import dataclasses

from hal_conformance.markdown import render_markdown
from hal_conformance.report import Report, Selection
from hal_conformance.side_by_side import Run, line_up
from made_up import deep_report, device_report, facts, four_devices

from hal import Outcome


def lines_of(*reports: Report) -> list[str]:
    return render_markdown(line_up([("", r) for r in reports])).splitlines()


def test_a_row_a_device_with_denominators() -> None:
    report = four_devices(100)
    rows = [line for line in lines_of(report) if line.startswith("| made")][:4]
    for row, one in zip(rows, report.reports, strict=True):
        assert one.scores and one.scores.headline
        cells = [c.strip() for c in row.strip("|").split("|")]
        assert cells[1] == f"**{one.scores.headline.score}** full"
        assert cells[2:7] == [str(n) for n in one.classes.values()]
        assert cells[7] == str(one.scores.cases)
        assert ("(emulated)" in cells[0]) is one.device.emulated
    assert any("suite contract, contract" in line for line in lines_of(report))


def test_the_cells_of_each_profile_have_a_row() -> None:
    report = four_devices(100)
    lines = lines_of(report)
    at = lines.index(
        "| cells of profile | " + " | ".join(r.device.id for r in report.reports) + " |"
    )
    rows = {row.split(" | ")[0]: row for row in lines[at + 2 : lines.index("", at)]}
    scores = report.reports[1].scores
    assert scores and len(rows) == len(scores.profiles)
    for entry in scores.profiles:
        row = rows[f"| {entry.profile} (of {entry.cells.of_contract})"]
        assert row.split(" | ")[2] == str(entry.cells)


def test_a_table_for_each_selection() -> None:
    full = device_report("a:npu", facts(4), lambda i: Outcome.PASS)
    part = dataclasses.replace(full, selection=Selection("contract", "vision"))
    assert sum(line.startswith("| device") for line in lines_of(Report((full, part)))) == 2


def test_an_incomplete_run_has_no_score() -> None:
    one = device_report("a:npu", facts(4), lambda i: Outcome.NOT_RUN if i else Outcome.PASS)
    (row,) = [line for line in lines_of(Report((one,))) if line.startswith("| a:npu")]
    assert "incomplete: no score" in row
    assert "/" not in row


def test_what_a_report_notes_stands_below() -> None:
    one = device_report("a:npu", facts(4), lambda i: Outcome.PASS)
    one = dataclasses.replace(one, notes=("judged by another tolerance", "options: x=1"))
    (line,) = [line for line in lines_of(Report((one,))) if line.startswith("- a:npu: ")]
    assert line.endswith("; judged by another tolerance; options: x=1")


def test_names_do_not_break_the_table() -> None:
    one = device_report("a:npu", facts(4), lambda i: Outcome.PASS)
    lines = render_markdown([Run("a|b:*npu*\n[x](y)", one)]).splitlines()
    (row,) = [line for line in lines if line.startswith("| a")]
    assert row.startswith("| a\\|b:\\*npu\\* \\[x\\](y) | ")
    assert row.replace("\\|", "").count("|") == lines[0].count("|")


def test_speed_has_a_row_a_device_and_the_operators_that_models_use_most() -> None:
    lines = lines_of(four_devices(10))
    first = next(i for i, line in enumerate(lines) if line.startswith("| device | operators timed"))
    assert lines[first + 3] == (
        "| made1:npu | 2 of 3 | 200 GFLOP/s | 20.0 GB/s | 34 % | 0.50 × made0:npu |"
    )
    assert lines[first + 5] == "| made3:npu (emulated) | 2 of 3 |  |  |  |  |"
    relu, conv = lines[first + 9 : first + 11]
    assert relu == (
        r"| Relu | float\[1,64,56,56\] | 100 µs, 80 % | 200 µs, 40 %, 0.50 × "
        "| 300 µs, 27 %, 0.33 × | 400 µs |"
    )
    assert conv.startswith("| Conv |")


def test_what_deep_found_stands_apart_from_the_score() -> None:
    one = device_report("a:npu", facts(3), lambda i: Outcome.PASS)
    lines = lines_of(Report((dataclasses.replace(one, deep=deep_report()),)))
    (said,) = (line for line in lines if line.startswith("a:npu: deep, beside the score"))
    assert "8 cases of 2 operators and types (1 crash, 7 pass); 1 fail" in said
    assert any(line.startswith("| contract/Equal-19/int64-deep-1 | crash |") for line in lines)
    assert any(line.startswith("| a:npu | **3/3") for line in lines)
