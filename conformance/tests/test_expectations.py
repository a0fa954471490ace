"""Expectations: known failures are visible but not red, and the file never rots."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hal_conformance.expectations import Expectations, find_expectations, parse_expectations
from hal_conformance.expectations_judge import Judgement, judge
from hal_conformance.expectations_writer import render_expectations, write_expectations
from hal_conformance.report import CaseResult, ContractInfo, Environment, Limits, Selection
from hal_conformance.scoring import build_report
from hypothesis import given, settings
from hypothesis import strategies as st

from hal import Device, Outcome
from hal.errors import DataError


@dataclass(frozen=True)
class Facts:
    id: str
    operators: tuple[str, ...] = ("A",)
    cells: tuple[str, ...] = ()
    single_operator: str = "A"
    expanded: bool = False


DEVICE = Device("ort:cpu", "cpu", versions={"onnxruntime": "1.31.1", "driver": "2026.4.1-21-abc"})
LINE = '[[expect]]\npattern = "onnx/node/test_{}"\nstatus = "{}"\nreason = "known"\n'


def run(
    text: str, outcomes: dict[str, Outcome], *, suite: Sequence[str] | None = None
) -> Judgement:
    results = [
        CaseResult(f"onnx/node/test_{name}", (name.partition("_")[0],), outcome, reason="because")
        for name, outcome in outcomes.items()
    ]
    ids = [r.id for r in results] if suite is None else [f"onnx/node/test_{n}" for n in suite]
    return judge(parse_expectations(text, "f.toml"), results, DEVICE, suite_cases=ids)


def marks(judgement: Judgement) -> list[str]:
    return [r.expected for r in judgement.results]


def kinds(judgement: Judgement) -> list[str]:
    return [v.kind for v in judgement.violations]


def test_without_a_file_nothing_is_unexpected() -> None:
    results = [CaseResult("onnx/node/test_a", ("A",), Outcome.WRONG)]
    assert judge(None, results, DEVICE, suite_cases=["x"]) == Judgement(tuple(results), ())


def test_an_unlisted_failure_is_not_red_unless_the_file_is_strict() -> None:
    outcomes = {o.value: o for o in Outcome}
    assert kinds(run("", outcomes)) == []
    judgement = run("strict = true", outcomes)
    assert kinds(judgement) == ["unlisted"]
    red = {r.outcome for r in judgement.results if r.expected == "unexpected"}
    assert red == {
        Outcome.WRONG,
        Outcome.FALLBACK,
        Outcome.ERROR,
        Outcome.CRASH,
        Outcome.TIMEOUT,
        Outcome.MEMORY,
    }
    assert "and 3 more fail" in judgement.violations[0].message


@pytest.mark.parametrize(
    "outcome", [o for o in Outcome if o not in (Outcome.PASS, Outcome.DISPUTED, Outcome.NOT_RUN)]
)
def test_xfail_covers_every_failure(outcome: Outcome) -> None:
    judgement = run("strict = true\n" + LINE.format("a*", "xfail"), {"a": outcome})
    assert (marks(judgement), kinds(judgement)) == (["xfail"], [])


@pytest.mark.parametrize("outcome", list(Outcome))
def test_unsupported_covers_only_what_was_not_run_here(outcome: Outcome) -> None:
    judgement = run(LINE.format("a", "unsupported"), {"a": outcome})
    not_here = (Outcome.UNSUPPORTED, Outcome.SKEW, Outcome.UNFED, Outcome.FALLBACK)
    if outcome in not_here:
        assert (marks(judgement), kinds(judgement)) == (["unsupported"], [])
    elif outcome is Outcome.PASS:
        assert (marks(judgement), kinds(judgement)) == (["stale"], ["stale"])
    elif outcome in (Outcome.DISPUTED, Outcome.NOT_RUN):
        assert (marks(judgement), kinds(judgement)) == ([""], [])
    else:
        assert (marks(judgement), kinds(judgement)) == (["unexpected"], ["uncovered"])
        message = judgement.violations[0].message
        assert message.startswith("f.toml: pattern 'onnx/node/test_a': listed as unsupported, but")


def test_an_exact_outcome_covers_no_other() -> None:
    text = LINE.format("a*", "xfail") + 'outcome = "wrong"\n'
    judgement = run(text, {"a1": Outcome.WRONG, "a2": Outcome.CRASH})
    assert marks(judgement) == ["xfail", "unexpected"]
    assert kinds(judgement) == ["uncovered"]
    assert judgement.violations[0].cases == ("onnx/node/test_a2",)


def test_a_line_is_stale_only_when_all_of_its_cases_pass() -> None:
    text = LINE.format("a*", "xfail")
    part = run(text, {"a1": Outcome.PASS, "a2": Outcome.WRONG})
    assert (marks(part), kinds(part)) == (["", "xfail"], [])
    whole = run(text, {"a1": Outcome.PASS, "a2": Outcome.PASS})
    assert (marks(whole), kinds(whole)) == (["stale", "stale"], ["stale"])
    assert "all of its 2 cases pass: remove the line" in whole.violations[0].message


def test_staleness_waits_for_every_case_of_the_line() -> None:
    text = LINE.format("a*", "xfail")
    selected = run(text, {"a1": Outcome.PASS}, suite=["a1", "a2"])
    interrupted = run(text, {"a1": Outcome.PASS, "a2": Outcome.NOT_RUN})
    assert kinds(selected) == kinds(interrupted) == []
    elsewhere = run(text, {"a1": Outcome.PASS}, suite=["a1", "b"])
    assert kinds(elsewhere) == ["stale"]


def test_a_pattern_that_matches_nothing_is_red_in_a_full_run_only() -> None:
    text = LINE.format("zz*", "xfail")
    assert kinds(run(text, {"a": Outcome.PASS})) == ["no-match"]
    assert kinds(run(text, {"a": Outcome.PASS}, suite=["a", "b"])) == []
    assert kinds(run(text, {"a": Outcome.PASS, "b": Outcome.NOT_RUN})) == []
    assert kinds(run(text, {"a": Outcome.PASS, "b": Outcome.DISPUTED})) == ["no-match"]


@pytest.mark.parametrize("pattern", ["onx/node/test_a", "test_a", "onnx/test_a"])
def test_a_slip_in_a_pattern_is_red(pattern: str) -> None:
    text = f'[[expect]]\npattern = "{pattern}"\nstatus = "xfail"\nreason = "r"\n'
    assert kinds(run(text, {"a": Outcome.WRONG})) == ["no-match"]


def test_a_pattern_of_a_suite_that_did_not_run_is_not_judged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from hal_conformance import expectations_judge

    monkeypatch.setattr(expectations_judge, "SUITES", {"onnx": "", "torch": ""})
    text = '[[expect]]\npattern = "torch/add*"\nstatus = "xfail"\nreason = "r"\n'
    assert kinds(run(text, {"a": Outcome.WRONG})) == []


@pytest.mark.parametrize(
    ("extra", "applies"),
    [
        ('device = "ort:*"', True),
        ('device = "ort:cuda"', False),
        ('versions = { onnxruntime = "<1.32" }', True),
        ('versions = { onnxruntime = "<1.31" }', False),
        ('versions = { onnxruntime = ">=1.31", driver = "==2026.4.*" }', True),
        ('versions = { driver = ">2026.4.1" }', False),
        ('device = "ort:cuda"\nversions = { cuda = ">1" }', False),
    ],
)
def test_a_line_applies_to_its_devices_and_versions(extra: str, applies: bool) -> None:
    judgement = run(LINE.format("a", "xfail") + extra, {"a": Outcome.PASS})
    assert kinds(judgement) == (["stale"] if applies else [])


def test_a_version_that_the_device_does_not_report_is_red() -> None:
    text = LINE.format("a", "xfail") + 'versions = { onnxrunime = "<2" }'
    judgement = run(text, {"a": Outcome.WRONG})
    assert kinds(judgement) == ["version"]
    assert "reports no version of onnxrunime (it reports: onnxruntime, driver)" in (
        judgement.violations[0].message
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[expect", "f.toml: not TOML"),
        ("strict = 1", "f.toml: strict is true or false, not 1"),
        ("strikt = true", "f.toml: there is no key 'strikt'. Did you mean 'strict'?"),
        ("expect = 3", "f.toml: a line is a table of its own"),
        ("expect = [3]", "f.toml: a line is a table of its own"),
        ("[expect]\npattern = 'a'", "f.toml: a line is a table of its own"),
        (LINE.format("a", "xfail") + "[[expect]]\npattern = 'b'", "number 2, pattern 'b': status"),
        ("[[expect]]\nstatus = 'xfail'", "f.toml: [[expect]] number 1: pattern is missing"),
        (LINE.format("a", "xpass"), "status is 'unsupported' or 'xfail', not 'xpass'"),
        (LINE.format("a", "xfail").replace("known", " "), "reason is a text that is not empty"),
        (LINE.format("a", "xfail") + "link = 3", "link is a text"),
        (LINE.format("a", "xfail") + "reson = 'x'", "no key 'reson'. Did you mean 'reason'?"),
        (LINE.format("a", "xfail") + "outcome = 'pass'", "outcome of an 'xfail' line is one of"),
        (LINE.format("a", "unsupported") + "outcome = 'wrong'", "is one of unsupported, skew"),
        (LINE.format("a", "xfail") + "versions = '<1'", "versions is a table"),
        (LINE.format("a", "xfail") + "versions = {a = 'new'}", "'new' is no version range of a"),
        (LINE.format("a", "xfail") + "versions = {a = 3}", "3 is no version range of a"),
    ],
)
def test_a_malformed_file_names_itself_and_the_line(text: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        parse_expectations(text, "f.toml")
    assert str(caught.value).startswith("f.toml: ")
    assert message in str(caught.value)


def test_a_file_is_found_beside_its_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    package = tmp_path / "hal_found_package"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('not imported')")
    (tmp_path / "hal_found_module.py").write_text("raise RuntimeError('not imported')")
    for module in ("hal_found_package", "hal_found_module", "hal_no_such_module"):
        assert find_expectations(module) is None
        assert Expectations.of_plugin(module) is None
    (package / "expectations.toml").write_text("strict = true")
    (tmp_path / "hal_found_module.expectations.toml").write_text("strict = 3")
    (tmp_path / "expectations.toml").write_text("strict = 4")
    found = Expectations.of_plugin("hal_found_package")
    assert found is not None
    assert found.strict
    assert found.source == str(package / "expectations.toml")
    with pytest.raises(DataError, match=r"hal_found_module\.expectations\.toml: strict"):
        Expectations.of_plugin("hal_found_module")
    assert "hal_found_module" not in sys.modules


def test_a_file_that_cannot_be_read_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        Expectations.load(tmp_path / "none.toml")
    (tmp_path / "b.toml").write_bytes(b"\xff")
    with pytest.raises(DataError, match="not UTF-8"):
        Expectations.load(tmp_path / "b.toml")


def test_cases_that_fail_alike_share_a_line() -> None:
    results = [
        CaseResult("onnx/node/test_tile_a", ("Tile",), Outcome.WRONG, reason="garbage"),
        CaseResult("onnx/node/test_tile_b", ("Tile",), Outcome.WRONG, reason="garbage\n"),
        CaseResult("onnx/node/test_conv_a", ("Conv",), Outcome.UNSUPPORTED),
        CaseResult("onnx/node/test_conv_b", ("Conv",), Outcome.PASS),
        CaseResult("onnx/node/test_conv_c", ("Conv",), Outcome.UNSUPPORTED, reason='"q" \x7f'),
    ]
    text = render_expectations(DEVICE, results)
    lines = parse_expectations(text).lines
    assert [(n.pattern, n.status, n.outcome, n.reason) for n in lines] == [
        ("onnx/node/test_conv_a", "unsupported", None, "unsupported"),
        ("onnx/node/test_conv_c", "unsupported", None, '"q" \x7f'),
        ("onnx/node/test_tile_*", "xfail", Outcome.WRONG, "garbage"),
    ]


def test_a_written_line_fits_no_other_case() -> None:
    results = [
        CaseResult("onnx/node/test_a[12]*", ("A",), Outcome.WRONG),
        CaseResult("onnx/node/test_a1_more", ("A",), Outcome.PASS),
    ]
    (line,) = parse_expectations(render_expectations(DEVICE, results)).lines
    assert line.matches([r.id for r in results]) == {"onnx/node/test_a[12]*"}


written = st.lists(
    st.builds(
        CaseResult,
        id=st.text("ab_[*", min_size=1, max_size=4).map("onnx/node/test_".__add__),
        operators=st.sampled_from([("Abs",), ("Conv",), ("Abs", "Conv")]),
        outcome=st.sampled_from(Outcome),
        reason=st.text(st.characters(), max_size=8) | st.just("lone \ud800 \x00 \x7f \"'\\"),
    ),
    unique_by=lambda r: r.id,
    max_size=12,
)


@given(written)
@settings(max_examples=100, deadline=None)
def test_a_run_is_not_red_under_the_file_written_from_it(results: list[CaseResult]) -> None:
    text = "strict = true\n" + render_expectations(DEVICE, results)
    expectations = parse_expectations(text.encode().decode())
    judgement = judge(expectations, results, DEVICE, suite_cases=[r.id for r in results])
    assert judgement.violations == ()
    for result in judgement.results:
        no_failure = result.outcome in (Outcome.PASS, Outcome.DISPUTED, Outcome.NOT_RUN)
        assert (result.expected == "") is no_failure


@given(written, written)
@settings(max_examples=100, deadline=None)
def test_a_listed_failure_is_marked_or_red(
    before: list[CaseResult], after: list[CaseResult]
) -> None:
    expectations = parse_expectations("strict = true\n" + render_expectations(DEVICE, before))
    judgement = judge(expectations, after, DEVICE, suite_cases=[r.id for r in after])
    named = {case_id for v in judgement.violations for case_id in v.cases}
    for result in judgement.results:
        assert (result.id in named) is (result.expected in ("stale", "unexpected"))


def test_a_written_file_keeps_devices_apart(tmp_path: Path) -> None:
    reports = []
    for name, outcome in (("x:cpu", Outcome.WRONG), ("x:gpu", Outcome.CRASH)):
        result = CaseResult("onnx/node/test_a", ("A",), outcome, reason="because")
        reports.append(
            build_report(
                Device(name, "cpu"),
                [Facts(result.id)],
                [result],
                contract=ContractInfo("1", "1.23.2"),
                contract_cells=1,
                suites=["onnx"],
                wall_seconds=1.0,
                environment=Environment.here([]),
                limits=Limits(),
                selection=Selection("onnx"),
            )
        )
    path = tmp_path / "expectations.toml"
    write_expectations(reports, path)
    lines = Expectations.load(path).lines
    assert [(n.device, n.outcome) for n in lines] == [
        ("x:cpu", Outcome.WRONG),
        ("x:gpu", Outcome.CRASH),
    ]
    for report in reports:
        ids = [r.id for r in report.cases]
        assert judge(Expectations.load(path), report.cases, report.device, suite_cases=ids) == (
            Judgement(tuple(replace(r, expected="xfail") for r in report.cases), ())
        )


def test_the_example_in_the_docs_is_a_file_that_works() -> None:
    docs = Path(__file__).parents[2] / "docs" / "reading-a-score.md"
    block = docs.read_text(encoding="utf-8").partition("```toml\n")[2].partition("```")[0]
    tile, strings = parse_expectations(block).lines
    assert tile.covers(Outcome.WRONG)
    assert not tile.covers(Outcome.CRASH)
    assert tile.applies_to("openvino:cpu", {"openvino": "2026.4.1-22000-abc"})
    assert strings.status == "unsupported"
