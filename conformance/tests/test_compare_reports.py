"""`hal compare`: what changed, what is noise, and the exit codes."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from hal_conformance.compare_reports import compare_reports
from hal_conformance.report import (
    CaseResult,
    ContractInfo,
    DeviceReport,
    Environment,
    Limits,
    Report,
    Score,
    Selection,
    write,
)
from hal_conformance.scoring import Profile, build_report

from hal import Device, Outcome
from hal.cli import main
from hal.errors import DataError, UsageError

PASS, WRONG, CRASH = Outcome.PASS, Outcome.WRONG, Outcome.CRASH


class Facts:
    def __init__(self, result: CaseResult) -> None:
        self.id, self.operators = result.id, result.operators
        self.cells: tuple[str, ...] = (f"{result.operators[0]}-1/T/tensor(float)",)
        self.single_operator = result.operators[0] if len(result.operators) == 1 else ""
        self.expanded = False


def device_report(
    outcomes: Mapping[str, Outcome],
    *,
    seconds: float = 0.01,
    device: str = "x:cpu",
    emulated: bool = False,
    selection: Selection = Selection("onnx"),  # noqa: B008 (frozen)
    version: str = "1",
    profile: str = "",
) -> DeviceReport:
    results = [
        CaseResult(f"onnx/node/test_{n}", (n.partition("_")[0],), o, "sole", f"{n} why", seconds)
        for n, o in outcomes.items()
    ]
    return build_report(
        Device(device, "cpu", emulated=emulated, versions={"sdk": version}),
        [Facts(r) for r in results],
        results,
        contract=ContractInfo("1", "1.23.2"),
        contract_cells=2949,
        suites=["onnx"],
        wall_seconds=1.0,
        environment=Environment("3.11", "Linux", {}),
        limits=Limits(),
        selection=selection,
        profile=Profile(profile, [r.id for r in results]) if profile else None,
    )


def ids(changes: tuple[object, ...]) -> list[str]:
    return [getattr(c, "id", c).rpartition("_")[2] for c in changes]  # type: ignore[attr-defined]


def test_every_kind_of_change_is_found_once() -> None:
    old = device_report(
        {"a": PASS, "b": PASS, "c": WRONG, "d": WRONG, "e": PASS, "f": WRONG, "g": PASS}
    )
    new = device_report(
        {"a": PASS, "b": WRONG, "c": PASS, "d": CRASH, "f": WRONG, "g": Outcome.DISPUTED, "h": PASS}
    )
    comparison = compare_reports(Report((old,)), Report((new,)))
    (one,) = comparison.devices
    assert ids(one.newly_failing) == ["b"]
    assert one.newly_failing[0].reason == "b why"
    assert ids(one.newly_passing) == ["c"]
    assert ids(one.changed) == ["d", "g"]
    assert ids(one.removed) == ["e"]
    assert ids(one.added) == ["h"]
    assert one.scores[0].old == Score(4, 7)
    assert one.scores[0].new == Score(3, 6)
    assert comparison.regression


@pytest.mark.parametrize(
    ("old", "new", "regression"),
    [
        ({"a": PASS}, {"a": PASS}, False),
        ({"a": WRONG}, {"a": PASS}, False),
        ({"a": WRONG}, {"a": CRASH}, False),
        ({"a": PASS}, {"a": PASS, "b": WRONG}, False),
        ({"a": PASS}, {"a": Outcome.DISPUTED}, False),
        ({"a": PASS}, {"a": Outcome.SKEW}, True),
        ({"a": PASS, "b": WRONG}, {"a": PASS}, True),
    ],
)
def test_what_is_a_regression(
    old: Mapping[str, Outcome], new: Mapping[str, Outcome], regression: bool
) -> None:
    reports = Report((device_report(old),)), Report((device_report(new),))
    assert compare_reports(*reports).regression is regression


def test_a_device_that_is_gone_is_a_regression_and_a_new_one_is_not() -> None:
    a, b = device_report({"a": PASS}), device_report({"a": PASS}, device="y:cpu")
    gone = compare_reports(Report((a, b)), Report((a,)))
    assert (gone.only_old, gone.regression) == (("y:cpu",), True)
    new = compare_reports(Report((a,)), Report((a, b)))
    assert (new.only_new, new.regression) == (("y:cpu",), False)
    assert not compare_reports(Report((a, b)), Report((a,)), devices=["x:cpu"]).regression


def test_two_devices_are_set_against_each_other() -> None:
    report = Report((device_report({"a": PASS}), device_report({"a": WRONG}, device="y:cpu")))
    (one,) = compare_reports(report, report, devices=["x:cpu=y:cpu"]).devices
    assert (one.old_device, one.new_device) == ("x:cpu", "y:cpu")
    assert ids(one.newly_failing) == ["a"]


def test_an_unknown_or_no_common_device_is_a_usage_error() -> None:
    a, b = device_report({"a": PASS}), device_report({"a": PASS}, device="y:cpu")
    with pytest.raises(UsageError, match=r"old report has no device 'x:cpv', but x:cpu\. Did you"):
        compare_reports(Report((a,)), Report((a,)), devices=["x:cpv"])
    with pytest.raises(UsageError, match="no device in common: x:cpu then, y:cpu now"):
        compare_reports(Report((a,)), Report((b,)))


def test_an_incomplete_report_is_refused_unless_asked_for() -> None:
    old = Report((device_report({"a": PASS, "b": PASS, "c": PASS}),))
    new = Report((device_report({"a": PASS, "b": WRONG, "c": Outcome.NOT_RUN}),))
    with pytest.raises(DataError, match="the new report of x:cpu is incomplete"):
        compare_reports(old, new)
    (one,) = compare_reports(old, new, allow_incomplete=True).devices
    assert ids(one.newly_failing) == ["b"]
    assert one.changed == ()
    assert one.scores[0].new is None
    assert "the new report is incomplete" in one.notes[0]


def test_other_selections_compare_what_both_ran() -> None:
    old = device_report({"a": PASS, "b": PASS})
    new = device_report({"a": WRONG}, selection=Selection("onnx", pattern="a"))
    (one,) = compare_reports(Report((old,)), Report((new,))).devices
    assert (one.removed, one.added, one.scores) == ((), (), ())
    assert ids(one.newly_failing) == ["a"]
    assert "other cases were selected" in one.notes[0]


def test_headlines_are_compared_over_the_same_profile_only() -> None:
    old = Report((device_report({"a": PASS}, profile="core"),))
    new = Report((device_report({"a": WRONG}, profile="core"),))
    other = Report((device_report({"a": WRONG}, profile="full"),))
    first = compare_reports(old, new).devices[0].scores[0]
    assert (first.name, first.old, first.new) == ("headline (core)", Score(1, 1), Score(0, 1))
    assert compare_reports(old, other).devices[0].scores[0].name == "cases"


THREE = {"Conv_1": PASS, "Conv_2": PASS, "Conv_3": PASS}


@pytest.mark.parametrize(
    ("then", "now", "slower", "faster"),
    [
        (0.010, 0.015, ["Conv"], []),
        (0.015, 0.010, [], ["Conv"]),
        (0.0100, 0.0111, [], []),
        (0.0111, 0.0100, [], []),
        (0.00010, 0.00019, [], []),
        (0.00010, 0.00030, ["Conv"], []),
    ],
)
def test_times_within_the_noise_are_no_finding(
    then: float, now: float, slower: list[str], faster: list[str]
) -> None:
    old, new = device_report(THREE, seconds=then), device_report(THREE, seconds=now)
    (one,) = compare_reports(Report((old,)), Report((new,))).devices
    assert [s.operator for s in one.slower] == slower
    assert [s.operator for s in one.faster] == faster
    for change in (*one.slower, *one.faster):
        assert change.ratio == pytest.approx(now / then)
        assert change.cases == 3
    assert not one.regression


def test_few_cases_failing_cases_and_emulators_have_no_speed() -> None:
    for outcomes, emulated in (
        ({"Conv_1": PASS, "Conv_2": PASS}, False),
        ({"Conv_1": PASS, "Conv_2": PASS, "Conv_3": WRONG}, False),
        (THREE, True),
    ):
        old = device_report(outcomes, seconds=0.01, emulated=emulated)
        new = device_report(outcomes, seconds=0.1, emulated=emulated)
        (one,) = compare_reports(Report((old,)), Report((new,))).devices
        assert one.slower == ()
        assert ("an emulated device's times are not compared" in one.notes) is emulated


def test_a_new_version_is_noted() -> None:
    old, new = device_report({"a": PASS}), device_report({"a": PASS}, version="2")
    (one,) = compare_reports(Report((old,)), Report((new,))).devices
    assert one.notes == ("sdk 1 then, 2 now",)


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    many = {f"m_{i}": PASS for i in range(30)}
    old = device_report({"a": PASS, "c": WRONG, **THREE, **many})
    new = device_report({"a": WRONG, "c": PASS, **THREE, **dict.fromkeys(many, WRONG)}, seconds=0.1)
    write(Report((old,)), tmp_path / "old.json")
    write(Report((new,)), tmp_path / "new.json")
    return str(tmp_path / "old.json"), str(tmp_path / "new.json")


def test_another_tolerance_is_noted() -> None:
    old = device_report({"a": PASS})
    new = dataclasses.replace(old, device=dataclasses.replace(old.device, precision="float16"))
    (one,) = compare_reports(Report((old,)), Report((new,))).devices
    assert "judged by the tolerance of float32 then, of float16 now" in one.notes


def test_the_command_exits_1_on_a_regression(
    files: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", *files]) == 1
    out = capsys.readouterr().out
    assert "newly failing: 31" in out
    assert "11 more: hal compare --verbose" in out
    assert "newly passing: 1" in out
    assert "onnx/node/test_a" in out
    assert "34/35 (97.1 %)" in out
    assert "slower: 1" in out
    assert out.rstrip().endswith("regression: 31 newly failing")
    assert main(["compare", "--verbose", *files]) == 1
    assert "more: hal compare" not in capsys.readouterr().out
    assert main(["compare", files[0], files[0]]) == 0
    assert capsys.readouterr().out.rstrip().endswith("no regression")


def test_the_command_prints_json(
    files: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", "--json", *files]) == 1
    data = json.loads(capsys.readouterr().out)
    assert (data["schema"], data["regression"]) == ("hal.compare/1", True)
    (one,) = data["devices"]
    assert one["newly_passing"] == [
        {"id": "onnx/node/test_c", "old": "wrong", "new": "pass", "reason": "c why"}
    ]
    assert one["scores"]["cases"]["old"] == {"passed": 34, "total": 35}
    assert one["slower"] == [{"operator": "Conv", "ratio": pytest.approx(10), "cases": 3}]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--device", "y:cpu"], 2, "has no device 'y:cpu'"),
        (["--noise", "0.5"], 2, "'--noise'"),
        (["third.json"], 2, "third.json"),
    ],
)
def test_wrong_arguments_are_one_line_and_exit_2(
    arguments: list[str],
    code: int,
    message: str,
    files: tuple[str, str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["compare", *files, *arguments]) == code
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert message in err


@pytest.mark.parametrize(
    "text", ["", "{", '{"schema": "other/1"}', '{"schema":"hal.conformance/2"}']
)
def test_a_file_that_is_no_report_exits_3(
    text: str, files: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text(text)
    assert main(["compare", files[0], str(bad)]) == 3
    captured = capsys.readouterr()
    assert f"error: {bad}: " in captured.err
    assert captured.out == ""
    assert main(["compare", str(tmp_path / "none.json"), files[0]]) == 3
