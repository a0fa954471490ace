"""What a person sees: the tables, what they say of an incomplete run, and the progress bar."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence

from hal_conformance.report import (
    CaseResult,
    ContractInfo,
    DeviceReport,
    Environment,
    Headline,
    Limits,
    OperatorSummary,
    ProfileCells,
    Score,
    Scores,
    Selection,
)
from hal_conformance.terminal import Terminal
from rich.console import Console

from hal import Device, Outcome, OutcomeClass

SCORES = Scores(
    cases=Score(1590, 2017),
    cells=Score(357, 629, of_contract=2949),
    operators_any=Score(167, 197),
    operators_all=Score(149, 197),
    grades={"traced": 0, "assigned": 1578, "sole": 12, "declared": 0},
    headline=Headline("vision", Score(1580, 1994)),
    disputed=("onnx/node/test_x",),
)
WORST = OperatorSummary(
    "DFT", 0, 10, True, None, {"wrong": 10}, ("wrong: output 'y' " + "w " * 99,)
)
RIGHT = OperatorSummary("Abs", 3, 3, True, 0.001, {"pass": 3})
COMPLETE = DeviceReport(
    device=Device("ort:cpu", "cpu"),
    contract=ContractInfo("1", "1.23.2"),
    suites=("onnx",),
    complete=True,
    wall_seconds=4.04,
    scores=SCORES,
    outcomes={o.value: 0 for o in Outcome},
    classes={"right here": 1590, "wrong": 16, "not run here": 398, "broken": 13, "open": 7},
    operators=(WORST, RIGHT),
    cases=(),
    environment=Environment("3.11.7", "Linux", {}),
    limits=Limits(),
    selection=Selection("onnx"),
)
INCOMPLETE = dataclasses.replace(COMPLETE, complete=False, scores=None, operators=())


def shown(*reports: DeviceReport, width: int = 220) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    terminal = Terminal(Console(file=out, width=width), Console(file=err, width=width))
    terminal.show(reports)
    return out.getvalue(), err.getvalue()


def row(text: str, first: str) -> list[str]:
    """The cells of the first row that starts with `first`."""
    lines = [line for line in text.splitlines() if line.strip().startswith(first)]
    return [cell.strip() for cell in lines[0].split("  ") if cell.strip()]


def test_row_of_a_device() -> None:
    out, err = shown(COMPLETE)
    assert row(out, "ort:cpu") == [
        *("ort:cpu", "1580/1994 (79.2 %)", "vision", "1590", "16", "398", "13", "7"),
        *("1578 assigned, 12 sole", "4.0 s"),
    ]
    assert row(out, "device") == [
        *("device", "headline", "profile"),
        *(c.value for c in OutcomeClass),
        *("evidence", "time"),
    ]
    assert err == ""


def test_row_of_the_scores_has_every_denominator() -> None:
    out, _ = shown(COMPLETE)
    scores = out[out.index("cells of 2949") :]
    assert row(scores, "ort:cpu") == [
        *("ort:cpu", "1590/2017 (78.8 %)", "357/629 (56.8 %)"),
        *("167/197 (84.8 %)", "149/197 (75.6 %)"),
    ]


def test_the_cells_of_each_profile_stand_side_by_side() -> None:
    of = [ProfileCells("transformer", Score(212, 214, 223)), ProfileCells("ml", Score(0, 7, 7))]
    full = dataclasses.replace(COMPLETE, scores=dataclasses.replace(SCORES, profiles=tuple(of)))
    part = dataclasses.replace(SCORES, profiles=tuple(of[:1]))
    other = dataclasses.replace(COMPLETE, device=Device("x:npu", "npu"), scores=part)
    out, _ = shown(full, other)
    cells = out[out.index("cells by profile") :]
    assert row(cells, "profile") == ["profile", "ort:cpu", "x:npu", "not asked"]
    assert row(cells, "transformer") == ["transformer", "212/214", "212/214", "9"]
    assert row(cells, "ml") == ["ml", "0/7", "0"]


def test_worst_operators_and_none_that_pass() -> None:
    out, _ = shown(COMPLETE)
    assert "ort:cpu: worst operators" in out
    worst = row(out, "DFT")
    assert worst[:2] == ["DFT", "0/10"]
    assert worst[2].startswith("wrong: output 'y' w w")
    assert worst[2].endswith("…")
    assert len(worst[2]) <= 110
    assert "Abs" not in out


def test_emulated_device_is_marked_and_only_that_one() -> None:
    emulated = dataclasses.replace(COMPLETE, device=Device("qnn:htp", "npu", emulated=True))
    out, _ = shown(COMPLETE, emulated)
    assert "qnn:htp (emulated)" in out
    assert "ort:cpu (emulated)" not in out
    half = dataclasses.replace(COMPLETE, device=Device("x:npu", "npu", precision="float16"))
    assert "x:npu (float16)" in shown(half)[0]


def test_incomplete_report_has_no_score() -> None:
    out, _ = shown(INCOMPLETE)
    assert row(out, "ort:cpu")[1] == "incomplete: no score"
    assert "%" not in out
    assert "cells of" not in out


def test_incomplete_report_beside_a_complete_one() -> None:
    other = dataclasses.replace(INCOMPLETE, device=Device("openvino:cpu", "cpu"))
    out, _ = shown(COMPLETE, other)
    assert row(out, "openvino:cpu")[1] == "incomplete: no score"
    assert "openvino:cpu" not in out[out.index("cells of") :]


def test_report_without_a_headline() -> None:
    partial = dataclasses.replace(COMPLETE, scores=dataclasses.replace(SCORES, headline=None))
    out, _ = shown(partial)
    assert row(out, "ort:cpu")[1] == "1590"
    assert "1590/2017" in out


def test_notes_go_to_the_other_stream() -> None:
    out, err = shown(dataclasses.replace(COMPLETE, notes=("a host was started anew 2 times",)))
    assert err == "ort:cpu: a host was started anew 2 times\n"
    assert "anew" not in out


def test_words_of_an_engine_are_no_markup() -> None:
    hostile = dataclasses.replace(WORST, reasons=("error: [red]x[/] [/nothing] :smile:",))
    out, err = shown(
        dataclasses.replace(COMPLETE, operators=(hostile,), notes=("[bold]a[/] [/nothing]",))
    )
    assert "[red]x[/] [/nothing]" in out
    assert "[bold]a[/] [/nothing]" in err


def test_no_device_says_what_to_do() -> None:
    out, _ = shown()
    assert "No device is ready" in out
    assert "hal devices" in out


OUTCOMES = (Outcome.PASS, Outcome.PASS, Outcome.WRONG, Outcome.SKEW, Outcome.CRASH)


def progress(outcomes: Sequence[Outcome], *, terminal: bool) -> str:
    err = io.StringIO()
    console = Console(file=err, width=200, force_terminal=terminal, color_system=None)
    shower = Terminal(Console(file=io.StringIO()), console)
    with shower.progress(Device("ort:cpu", "cpu"), len(outcomes)) as tell:
        for index, outcome in enumerate(outcomes):
            tell(CaseResult(f"onnx/node/{index}", ("Abs",), outcome))
    return err.getvalue()


def test_progress_counts_each_class() -> None:
    text = progress(OUTCOMES, terminal=True)
    for part in ("ort:cpu", "5/5", "2 right here", "1 wrong", "1 not run here", "1 broken"):
        assert part in text
    assert "open" not in text


def test_progress_is_silent_where_nobody_watches() -> None:
    assert progress(OUTCOMES, terminal=False) == ""


def test_narrow_terminal_loses_no_number() -> None:
    out, _ = shown(COMPLETE, width=80)
    for part in ("1590", "398", "2949"):
        assert part in out
