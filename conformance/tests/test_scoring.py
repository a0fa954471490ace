"""Scores: what counts in which denominator, and what holds for any results."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest
from hal_conformance.report import (
    CaseResult,
    ContractInfo,
    DeviceReport,
    Environment,
    Limits,
    Score,
    Scores,
    Selection,
)
from hal_conformance.scoring import (
    Gate,
    Profile,
    build_report,
    compute_scores,
    count_classes,
    count_outcomes,
    evidence,
    summarize_operators,
    worst_operators,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from hal import Device, Evidence, Outcome, OutcomeClass
from hal.errors import UsageError


@dataclasses.dataclass(frozen=True)
class Facts:
    id: str
    operators: tuple[str, ...]
    cells: tuple[str, ...]
    single_operator: str = ""
    expanded: bool = False


def single(name: str, operator: str, *cells: str, expanded: bool = False) -> Facts:
    return Facts(name, (operator,), cells, operator, expanded)


def result(
    case: Facts,
    outcome: Outcome = Outcome.PASS,
    evidence: str = "sole",
    reason: str = "",
    s: float = 1,
) -> CaseResult:
    return CaseResult(case.id, case.operators, outcome, evidence, reason, s)


def scores_of(cases: Sequence[Facts], results: Sequence[CaseResult], **options: object) -> Scores:
    return compute_scores(cases, results, contract_cells=2949, **options)  # type: ignore[arg-type]


def report_of(
    cases: Sequence[Facts], results: Sequence[CaseResult], **options: object
) -> DeviceReport:
    return build_report(
        Device("x:cpu", "cpu"),
        cases,
        results,
        contract=ContractInfo("1", "1.23.2"),
        contract_cells=2949,
        suites=["onnx"],
        wall_seconds=1.0,
        environment=Environment.here([]),
        limits=Limits(),
        selection=Selection("onnx"),
        **options,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("passed", "total", "text"),
    [
        (1590, 2024, "1590/2024 (78.6 %)"),
        (2023, 2024, "2023/2024 (99.9 %)"),
        (2024, 2024, "2024/2024 (100.0 %)"),
        (1, 2949, "1/2949 (0.1 %)"),
        (0, 2949, "0/2949 (0.0 %)"),
        (0, 0, "0/0"),
    ],
)
def test_a_score_is_printed_with_its_denominator(passed: int, total: int, text: str) -> None:
    assert str(Score(passed, total)) == text


@pytest.mark.parametrize(("passed", "total"), [(3, 2), (-1, 2)])
def test_an_impossible_score_is_refused(passed: int, total: int) -> None:
    with pytest.raises(ValueError, match="a score of"):
        Score(passed, total)


def test_a_cell_passes_when_every_case_that_exercises_it_does() -> None:
    cases = [single("a", "Abs", "Abs/f", "Abs/d"), single("b", "Abs", "Abs/f")]
    results = [result(cases[0]), result(cases[1], Outcome.WRONG)]
    scores = scores_of(cases, results)
    assert scores.cases == Score(1, 2)
    assert scores.cells == Score(1, 2, of_contract=2949)
    assert scores.operators_any == Score(1, 1)
    assert scores.operators_all == Score(0, 1)


def test_cells_count_expansions_and_several_nodes_but_operators_do_not() -> None:
    cases = [
        single("a", "Abs", "Abs/f"),
        single("b_expanded", "Neg", "Neg/f", expanded=True),
        Facts("c", ("Abs", "Add"), ("Abs/f", "Add/f")),
    ]
    results = [result(cases[0]), result(cases[1], Outcome.ERROR), result(cases[2], Outcome.CRASH)]
    scores = scores_of(cases, results)
    assert scores.cells == Score(0, 3, of_contract=2949)
    assert scores.operators_any == scores.operators_all == Score(1, 1)


def test_disputed_is_listed_and_left_out_of_every_denominator() -> None:
    cases = [single("a", "Abs", "Abs/f"), single("b", "Neg", "Neg/f"), single("c", "Abs", "Abs/f")]
    results = [
        result(cases[0]),
        result(cases[1], Outcome.DISPUTED),
        result(cases[2], Outcome.DISPUTED),
    ]
    scores = scores_of(cases, results, profile=Profile("full", {"a", "b", "c"}))
    assert scores.cases == scores.operators_any == scores.operators_all == Score(1, 1)
    assert scores.cells == Score(1, 1, of_contract=2949)
    assert scores.disputed == ("b", "c")
    assert scores.headline is not None
    assert scores.headline.score == Score(1, 1)


@pytest.mark.parametrize(
    "outcome", [o for o in Outcome if o not in (Outcome.PASS, Outcome.DISPUTED, Outcome.NOT_RUN)]
)
def test_every_failure_stays_in_the_denominator(outcome: Outcome) -> None:
    case = single("a", "Abs", "Abs/f")
    scores = scores_of([case], [result(case, outcome)])
    assert scores.cases == Score(0, 1)
    assert scores.cells == Score(0, 1, of_contract=2949)
    assert scores.operators_all == Score(0, 1)


def test_an_incomplete_run_has_no_score() -> None:
    cases = [single("a", "Abs"), single("b", "Abs")]
    results = [result(cases[0]), result(cases[1], Outcome.NOT_RUN)]
    with pytest.raises(ValueError, match="1 cases have not run"):
        scores_of(cases, results)
    report = report_of(cases, results)
    assert not report.complete
    assert report.scores is None
    assert report.outcomes["not-run"] == 1
    assert report.operators[0].total == 1


@pytest.mark.parametrize("ids", [[], ["a", "a"], ["a", "b"], ["b"]])
def test_results_of_other_cases_are_refused(ids: list[str]) -> None:
    results = [result(single(i, "Abs")) for i in ids]
    with pytest.raises(ValueError, match="not those of the cases"):
        scores_of([single("a", "Abs")], results)


def test_passes_are_split_by_grade() -> None:
    cases = [single(str(i), "Abs") for i in range(5)]
    evidence = ["traced", "assigned", "sole", "declared", ""]
    results = [result(c, evidence=e) for c, e in zip(cases, evidence, strict=True)]
    grades = scores_of(cases, results).grades
    assert grades == {"traced": 1, "assigned": 1, "sole": 1, "declared": 2}


def test_the_headline_is_over_the_whole_profile_or_not_at_all() -> None:
    cases = [single("a", "Abs"), single("b", "Neg"), single("c", "Neg")]
    results = [result(cases[0]), result(cases[1], Outcome.SKEW), result(cases[2])]
    scores = scores_of(cases, results, profile=Profile("core", {"a", "b"}))
    assert scores.headline is not None
    assert (scores.headline.profile, scores.headline.score) == ("core", Score(1, 2))
    assert scores_of(cases, results, profile=Profile("core", {"a", "z"})).headline is None
    assert scores_of(cases, results, profile=Profile("core", ())).headline is None
    assert scores_of(cases, results).headline is None


def test_an_operator_is_summed_up_over_its_own_cases() -> None:
    cases = [
        single("a", "Abs"),
        single("b", "Abs"),
        single("c", "Abs"),
        single("d", "Abs", expanded=True),
        Facts("e", ("Abs", "Loop"), ()),
    ]
    results = [
        result(cases[0], s=1),
        result(cases[1], s=3),
        result(cases[2], Outcome.UNSUPPORTED, reason="no\n  float8", s=99),
        result(cases[3], Outcome.WRONG, s=99),
        result(cases[4], Outcome.CRASH, reason="x" * 500, s=99),
    ]
    abs_, loop = summarize_operators(cases, results)
    assert (abs_.operator, abs_.passed, abs_.total, abs_.single) == ("Abs", 2, 3, True)
    assert abs_.median_seconds == 2
    assert abs_.outcomes == {"pass": 2, "unsupported": 1}
    assert abs_.reasons == ("unsupported: no float8",)
    assert (loop.operator, loop.passed, loop.total, loop.single) == ("Loop", 0, 1, False)
    assert loop.median_seconds is None
    assert loop.reasons[0].startswith("crash: xxx")
    assert len(loop.reasons[0]) < 220


def test_the_worst_operators_are_wrong_then_broken_then_not_run() -> None:
    cases, results = [], []
    for operator, outcomes in {
        "Good": [Outcome.PASS],
        "Skewed": [Outcome.SKEW] * 9,
        "Broken": [Outcome.CRASH, Outcome.PASS],
        "Wrong": [Outcome.WRONG, Outcome.PASS, Outcome.PASS],
        "Worse": [Outcome.UNSUPPORTED, Outcome.WRONG],
    }.items():
        for index, outcome in enumerate(outcomes):
            cases.append(single(f"{operator}{index}", operator))
            results.append(result(cases[-1], outcome))
    report = report_of(cases, results)
    worst = [o.operator for o in worst_operators(report)]
    assert worst == ["Worse", "Wrong", "Broken", "Skewed"]
    assert worst_operators(report, limit=1)[0].reasons == ("wrong", "unsupported")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("90", "is no gate"),
        ("cells", "is no gate"),
        ("cells=many", "is no gate"),
        ("cells=nan", "is no gate"),
        ("cells=101", "is no gate"),
        ("cell=90", "there is no score 'cell'. Did you mean 'cells'?"),
    ],
)
def test_a_gate_that_makes_no_sense_is_a_usage_error(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        Gate.parse(text)
    assert message in str(caught.value)


def test_a_gate_holds_or_says_why_not() -> None:
    cases = [single(str(i), f"Op{i % 2}") for i in range(4)]
    results = [result(c, Outcome.WRONG if c.id == "0" else Outcome.PASS) for c in cases]
    report = report_of(cases, results)
    assert Gate.parse("cases=75").problem(report) == ""
    assert Gate.parse("cases=75.01").problem(report) == "x:cpu: cases under 75.01 %: 3/4 (75.0 %)"
    assert Gate.parse("operators-all=51").problem(report).endswith("1/2 (50.0 %)")
    assert "the run has no headline" in Gate.parse("headline=1").problem(report)
    assert Gate.parse("cells=1").problem(report).endswith("0/0")
    whole = report_of(cases, results, profile=Profile("full", {c.id for c in cases}))
    assert Gate.parse("headline=75").problem(whole) == ""
    part = report_of(cases, [*results[:3], result(cases[3], Outcome.NOT_RUN)])
    assert "incomplete" in Gate.parse("cases=1").problem(part)


facts = st.builds(
    Facts,
    id=st.text("abcdef", min_size=1, max_size=3),
    operators=st.just(("Abs",)),
    cells=st.lists(st.sampled_from("uvwxyz"), unique=True, max_size=3).map(tuple),
    single_operator=st.sampled_from(["", "Abs", "Add", "Conv"]),
    expanded=st.booleans(),
)
runs = st.lists(
    st.tuples(facts, st.sampled_from([o for o in Outcome if o is not Outcome.NOT_RUN])),
    unique_by=lambda pair: pair[0].id,
    max_size=12,
)


@given(runs, st.sampled_from(Evidence))
@settings(max_examples=100, deadline=None)
def test_what_holds_for_any_results(run: list[tuple[Facts, Outcome]], grade: Evidence) -> None:
    cases = [case for case, _ in run]
    results = [result(case, outcome, grade.value) for case, outcome in run]
    report = report_of(cases, results)
    scores = report.scores
    assert scores is not None
    assert sum(report.outcomes.values()) == sum(report.classes.values()) == len(run)
    assert set(report.outcomes) == {o.value for o in Outcome}
    assert set(report.classes) == {c.value for c in OutcomeClass}
    assert scores.cases.total + len(scores.disputed) == len(run)
    assert scores.cases.passed == report.outcomes["pass"] == sum(scores.grades.values())
    assert scores.grades[grade.value] == scores.cases.passed
    assert scores.operators_any.total == scores.operators_all.total
    assert scores.operators_any.passed >= scores.operators_all.passed
    assert scores.cells.total <= len({cell for case in cases for cell in case.cells})
    for summary in report.operators:
        assert sum(summary.outcomes.values()) == summary.total
        assert summary.outcomes.get("pass", 0) == summary.passed
        assert (summary.median_seconds is None) == (summary.passed == 0)
        assert bool(summary.reasons) == (summary.passed < summary.total)
    singles = {o.operator: o for o in report.operators if o.single}
    assert len(singles) == scores.operators_all.total
    whole = sum(o.passed == o.total for o in singles.values())
    assert whole == scores.operators_all.passed


@given(runs)
@settings(max_examples=50, deadline=None)
def test_one_more_pass_never_lowers_a_score(run: list[tuple[Facts, Outcome]]) -> None:
    failing = [i for i, (_, o) in enumerate(run) if o not in (Outcome.PASS, Outcome.DISPUTED)]
    if not failing:
        return
    cases = [case for case, _ in run]
    before = [result(case, outcome) for case, outcome in run]
    after = list(before)
    after[failing[0]] = result(cases[failing[0]])
    old, new = scores_of(cases, before), scores_of(cases, after)
    assert new.cases == Score(old.cases.passed + 1, old.cases.total)
    for name in ("cells", "operators_any", "operators_all"):
        assert getattr(new, name).passed >= getattr(old, name).passed
        assert getattr(new, name).total == getattr(old, name).total


def test_counts_have_every_name_even_for_no_results() -> None:
    assert count_outcomes([]) == {o.value: 0 for o in Outcome}
    assert count_classes([]) == {c.value: 0 for c in OutcomeClass}


def test_evidence_for_routing_is_of_operators_that_never_pass() -> None:
    cases = [single(f"{o}{i}", o) for o in ("Add", "Mul", "Sub", "Div") for i in range(2)]
    wrong = {"Mul0", "Mul1", "Sub0", "Div0"}
    results = [
        result(c, Outcome.WRONG if c.id in wrong else Outcome.PASS, reason="off by 2")
        for c in cases
        if c.id != "Div1"
    ]
    found = evidence(summarize_operators(cases[:-1], results))
    assert found == {"Add": "", "Mul": "2 cases; wrong: off by 2", "Sub": ""}, "one is too few"
