"""A crash that an earlier run saw and did not repeat: the next run repeats it, alone, at once."""

from __future__ import annotations

import pytest
from hal_conformance.case import Case
from hal_conformance.journal import Memory
from hal_conformance.report import CaseResult, Limits
from hal_conformance.runner import Run, run_cases
from hal_conformance.suite_onnx import load_onnx_suite

from hal import Outcome
from hal.plugins import load_plugins

IDS = ("onnx/node/test_abs", "onnx/node/test_relu")


def run(kept: Memory, monkeypatch: pytest.MonkeyPatch) -> tuple[Run, list[str]]:
    suite, loaded = load_onnx_suite(), []
    load = suite.load
    monkeypatch.setattr(suite, "load", lambda case_id: loaded.append(case_id) or load(case_id))
    with load_plugins() as registry:
        device = registry.find_device("ort:cpu")
        spec = registry.backends["ort"].spec
        made = run_cases(suite, IDS, device, spec, lambda: registry.host("ort"), Limits(), kept)
    return made, loaded


def test_it_is_run_once_and_its_story_told(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Memory()
    kept.doubt(CaseResult(IDS[0], ("Abs",), Outcome.CRASH, "", "crashed with signal 11", 0.1))
    made, loaded = run(kept, monkeypatch)
    assert loaded == [IDS[1], IDS[0]]
    first, second = made.results
    assert (first.outcome, second.outcome) == (Outcome.PASS, Outcome.PASS)
    assert first.reason == "beside other cases it ended as crash: crashed with signal 11"
    assert not second.reason


def test_a_result_that_followed_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Memory()
    crash = CaseResult(IDS[0], ("Abs",), Outcome.CRASH, "", "crashed with signal 11", 0.1)
    kept.doubt(crash)
    kept.add(crash)
    made, loaded = run(kept, monkeypatch)
    assert loaded == [IDS[1]]
    assert made.results[0] == crash and made.resumed == 1


def test_what_ends_a_host_is_kept_before_it_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Memory()
    doubted: list[dict[str, CaseResult]] = []

    def crash(case: Case, *others: object) -> CaseResult:
        doubted.append(dict(kept.unconfirmed))
        return CaseResult(case.id, case.operators, Outcome.CRASH, "", "crashed with signal 6", 0.1)

    monkeypatch.setattr("hal_conformance.runner.run_case", crash)
    made, _ = run(kept, monkeypatch)
    assert [len(before) for before in doubted] == [0, 1, 2, 2]
    assert {r.outcome for r in made.results} == {Outcome.CRASH}
