"""The self-test: mutants are wrong, the right engine is not, and what is not caught is counted."""

from __future__ import annotations

import dataclasses
import fnmatch
import importlib
import json
import subprocess
import sys

import numpy as np
import pytest
from hal_conformance.case import load_suite
from hal_conformance.expectations import Expectation
from hal_conformance.mutants.arrays import mapped
from hal_conformance.mutants.bench import Bench, Control, OperatorResult, Verdict
from hal_conformance.mutants.engine import Engine
from hal_conformance.mutants.equivalent import EQUIVALENT
from hal_conformance.mutants.fault import Fault, any_type, faults_of, kinds
from hal_conformance.mutants.kept import Kept
from hal_conformance.mutants.mutant import Mutant, prepare
from hal_conformance.mutants.processes import Processes
from hal_conformance.mutants.score import document, score_of
from hal_conformance.mutants.selftest import (
    Request,
    TypeChoice,
    mutants_of,
    operators_of,
    without_bugs,
)

from hal import MapValue, OptionalValue, Outcome, SequenceValue, Tensor
from hal.contract import contract
from hal.errors import CrashError, HalError, UsageError
from hal.plugins import load_plugins


@pytest.fixture(scope="module")
def engine():
    with load_plugins() as registry:
        device = registry.find_device("torch:cpu")
        yield Engine(registry.backend("torch"), device, {"threads": 1})


@pytest.fixture(scope="module")
def benches(engine):
    """A bench of few cases for an operator, made once."""
    made: dict[str, Bench] = {}
    suite = load_suite("contract")

    def bench(key: str) -> Bench:
        if key not in made:
            ids = [f.id for f in suite if f.single_operator == key and "/float-" in f.id]
            cases = [suite.load(i) for i in ids]
            made[key] = Bench(engine, cases)
        return made[key]

    return bench


def mutant(key: str, kind: str, name: str) -> Mutant:
    found = [f for k, f in faults_of(contract().latest(key)) if (k, f.name) == (kind, name)]
    assert len(found) == 1, [f.name for k, f in faults_of(contract().latest(key)) if k == kind]
    return Mutant(key, kind, found[0])


CAUGHT = [
    ("Add", "broadcasting reversed", "aligned at the first dimension"),
    ("Sub", "operands exchanged", "the first two"),
    ("ReduceSum", "attribute ignored", "keepdims"),
    ("ReduceSum", "accumulation in too little precision", "float in float16"),
    ("Softmax", "wrong axis", "axis: the next one"),
    ("Softmax", "naive formula", "the maximum is not subtracted"),
    ("Softmax", "off by one", "input: end of the last axis"),
    ("Transpose", "wrong layout", "data read by columns"),
    ("Exp", "NaN dropped", "read as zero"),
    ("Exp", "infinity dropped", "written as the largest number"),
    ("Exp", "inaccurate approximation", "float: 12 bits right"),
    ("Exp", "output dtype wrong", "output"),
    ("Exp", "uninitialised tail", "the last element"),
    ("Add", "stale cache on a new shape", "the output's shape"),
    ("Conv", "stale cache on a new shape", "the number of elements"),
    ("Exp", "result depends on the previous call", "the same shapes, the same result"),
    ("Exp", "result depends on the previous call", "zeros show the last result"),
    ("Exp", "input overwritten", "input"),
    ("Transpose", "infinity dropped", "read as the largest number"),
    ("Softmax", "rank and empty dimensions", "an empty input is refused"),
    ("MaxPool", "ceil against floor", "ceil_mode never"),
    ("MaxPool", "off-by-one padding", "pads: the ends exchanged"),
    ("Conv", "wrong stride", "strides: exchanged"),
    ("Round", "wrong rounding", "halves away from zero"),
    ("QuantizeLinear", "saturate against wrap", "wraps"),
    ("ArgMax", "ties", "the other end"),
    ("Gather", "index clamping", "a negative index is zero"),
    ("Cos", "infinity dropped", "read as the largest number"),
    ("ArgMax", "infinity dropped", "read as the largest number"),
    ("GatherElements", "wrong default", "axis 1"),
    ("LRN", "NaN dropped", "read as zero"),
    ("LogSoftmax", "result depends on the previous call", "zeros show the last result"),
]


@pytest.mark.parametrize(("key", "kind", "name"), CAUGHT, ids=[f"{k}-{n}" for k, n, _ in CAUGHT])
def test_a_wrong_kernel_is_caught(benches, key, kind, name):
    bench = benches(key)
    assert bench.control.wrong == {}
    assert bench.control.passed["contract"] > 0
    verdict = bench.verdict(mutant(key, kind, name))
    assert verdict.reached or kind == "input overwritten"  # whose own result is right
    assert verdict.caught["contract"].startswith(f"contract/{key}-")


@pytest.mark.parametrize(("key", "kind", "name"), CAUGHT[:3], ids=[c[0] for c in CAUGHT[:3]])
def test_a_fault_that_is_disabled_is_not_caught(benches, key, kind, name):
    made = mutant(key, kind, name)
    for kernel in (lambda call, run, state: None, lambda call, run, state: run(call)):
        disabled = dataclasses.replace(made, fault=Fault(name, kernel, any_type))
        verdict = benches(key).verdict(disabled)
        assert (verdict.caught, verdict.reached) == ({}, False)
        score = score_of([OperatorResult(key, (verdict,), benches(key).control)])
        assert (score.suites["contract"].caught, score.suites["contract"].total) == (0, 1)


def test_a_kernel_that_the_engine_does_not_have_is_no_mutant(benches):
    made = mutant("Exp", "uninitialised tail", "the last element")
    missing = dataclasses.replace(made, type="tensor(int8)")
    verdict = benches("Exp").verdict(missing)
    assert verdict.not_made == "the engine passes no case of its type"
    score = score_of([OperatorResult("Exp", (verdict,), benches("Exp").control)])
    assert score.suites["contract"].total == 0
    assert [v.id for v in score.not_made] == [missing.id]


def test_a_fault_of_one_type_leaves_the_others(benches):
    made = mutant("Exp", "uninitialised tail", "the last element")
    other = dataclasses.replace(made, type="tensor(double)")
    assert other.id.endswith("@double")
    assert "contract" not in benches("Exp").verdict(other).caught  # its cases are of float


def test_the_right_engine_raises_no_alarm_in_float64(benches):
    control = benches("Softmax").control
    assert control.float64 > 0
    assert control.float64_wrong == {}


def test_mutants_are_many_and_have_ids_of_their_own():
    request = Request()
    ids = [m.id for op in operators_of(request) for m in mutants_of(op, request)]
    assert len(ids) == len(set(ids)) > 5000
    named = {
        "wrong axis",
        "off-by-one padding",
        "attribute ignored",
        "broadcasting reversed",
        "accumulation in too little precision",
        "wrong rounding",
        "NaN dropped",
        "saturate against wrap",
        "ceil against floor",
        "stale cache on a new shape",
        "output dtype wrong",
        "input overwritten",
        "result depends on the previous call",
        "uninitialised tail",
    }
    assert named < set(kinds())
    assert {i.split("/")[1] for i in ids} == set(kinds())


def test_the_seed_draws_the_types():
    operator = contract().latest("Softmax")

    def ids(seed: int) -> list[str]:
        return [m.id for m in mutants_of(operator, Request(seed=seed))]

    assert ids(0) == ids(0) != ids(1)
    none = [m.type for m in mutants_of(operator, Request(types=TypeChoice.NONE))]
    every = [m.type for m in mutants_of(operator, Request(types=TypeChoice.ALL))]
    assert set(none) == {""}
    assert len(every) > len(ids(0)) > len(none)


def test_equivalent_mutants_are_in_no_total():
    kept = Verdict("A/k/x", "A", "k", "x", "", "", {"contract": "c"}, True)
    lost = Verdict("A/k/y", "A", "k", "y", "", "", {"onnx": "o"}, True)
    same = Verdict("Size/k/z", "Size", "uninitialised tail", "vectors of 4", "", "", {}, False)
    typed = Verdict("A/k/y@t", "A", "k", "y", "t", "", {"contract": "c"}, True)
    single = Verdict("A/k/s", "A", "k", "s", "", "t", {}, False)
    control = Control({"contract": 3, "onnx": 4}, {"contract/A/b": "off"}, 2, {}, {})
    verdicts = (kept, lost, same, typed, single)
    score = score_of([OperatorResult("A", verdicts, control)])
    found = document(Request(), score, complete=True)
    assert found["contract"] == found["onnx"] == {"caught": 1, "total": 3}
    assert found["kinds"] == {"k": {"contract": found["contract"], "onnx": found["onnx"]}}
    assert found["by_type"]["contract"] == {"caught": 1, "total": 2}
    assert found["by_type"]["kinds"]["k"]["onnx"] == {"caught": 0, "total": 2}
    assert found["equivalents"] == [{"id": "Size/k/z", "reason": "the result is one element"}]
    assert found["contradicted"] == []
    assert [s["id"] for s in found["survivors"]] == ["A/k/y", "A/k/s"]
    assert found["control"]["false_alarms"] == [{"case": "contract/A/b", "reason": "off"}]


def test_a_case_refutes_that_a_mutant_is_equivalent():
    verdict = Verdict("Size/t/4", "Size", "uninitialised tail", "vectors of 4", "", "", {}, False)
    caught = dataclasses.replace(verdict, caught={"contract": "contract/Size-27/float-x"})
    control = Control({"contract": 1, "onnx": 0}, {}, 0, {}, {})
    assert score_of([OperatorResult("Size", (verdict,), control)]).sound
    score = score_of([OperatorResult("Size", (caught,), control)])
    assert score.contradicted == {"Size/t/4": "contract/Size-27/float-x"}
    assert not score.sound
    assert score.suites["contract"].total == 0


def test_a_known_bug_of_the_engine_is_no_alarm():
    control = Control(
        {"contract": 1, "onnx": 0}, {"contract/A/b": "off", "contract/A/c": "off"}, 0, {}, {}
    )
    line = Expectation("contract/A/b", "xfail", "rounds down", outcome=Outcome.WRONG)
    found = without_bugs(control, [line])
    assert found.wrong == {"contract/A/c": "off"}
    assert found.left_out == {"contract/A/b": "a known bug: rounds down"}
    assert without_bugs(control, []) == control


def test_every_equivalence_names_mutants_that_exist():
    known = [
        (m.operator, f"{m.kind}/{m.fault.name}")
        for op in operators_of(Request())
        for m in mutants_of(op, Request(types=TypeChoice.NONE))
    ]
    for row in EQUIVALENT:
        named = [(o, f) for o, f in known if any(fnmatch.fnmatchcase(f, p) for p in row.faults)]
        for pattern in row.operators:
            assert any(fnmatch.fnmatchcase(o, pattern) for o, _ in named), (row.reason, pattern)


def test_results_are_kept_as_long_as_nothing_changes(engine, monkeypatch, tmp_path):
    monkeypatch.setenv("HAL_HOME", str(tmp_path))
    suite = load_suite("contract")
    cases = [suite.load(f.id) for f in suite if f.single_operator == "Sign" and "/float-" in f.id]
    kept = Kept("request", engine.device, engine)
    key = kept.key(cases)
    assert key != kept.key(cases[1:]) != kept.key([])
    bench = Bench(engine, cases)
    result = OperatorResult("Sign", (bench.verdict(mutant("Sign", *_TAIL)),), bench.control)
    assert kept.load("Sign", key) is None
    kept.save(result, key)
    assert kept.load("Sign", key) == result
    assert kept.load("Sign", kept.key(cases[1:])) is None
    assert Kept("another", engine.device, engine).load("Sign", key) is None


_TAIL = ("uninitialised tail", "the last element")


def test_an_error_that_is_known_holds_no_memory_of_its_call(engine):
    suite = load_suite("contract")
    case = next(suite.load(f.id) for f in suite if f.single_operator == "MatMul")
    steps = prepare(case.model).steps
    call = steps[0].call(case.data_sets[0].inputs, frozenset())
    broken = call.feeding(1, None)
    depths = []
    for _ in range(3):
        with pytest.raises(HalError) as caught:
            engine.run(broken)
        depths.append(len(caught.traceback))
    assert depths[1] == depths[2] <= depths[0]


def test_a_case_that_ends_its_process_judges_by_that(engine, tmp_path):
    suite = load_suite("contract")
    cases = [suite.load(f.id) for f in suite if f.single_operator == "Sign" and "/float-" in f.id]
    made, note = mutant("Sign", *_TAIL), tmp_path / "note"
    whole = Bench(engine, cases, note=note)
    assert note.read_text() in {f" {c.id}" for c in cases}
    first = whole.verdict(made).caught["contract"]
    assert note.read_text() == f"{made.id} {first}"
    died = frozenset({f"{made.id} {whole.cases[-1].id}", f" {first}"})
    bench = Bench(engine, cases, died)
    assert bench.control.left_out == {first: "crash: the process died"}
    bench.cases.reverse()
    assert bench.verdict(made).caught["contract"] == whole.cases[-1].id


_DEADLY = """
import os
from hal_conformance.mutants.bench import Control, OperatorResult

class Worker:
    def judge(self, key, died, note):
        for case in ("a", "b", "c"):
            at = f"{key} {case}"
            if at not in died:
                note.write_text(at if case != "c" else "")
                if (key, case) in {("two", "a"), ("two", "b"), ("last", "c")}:
                    os.abort()
        return OperatorResult(key, (), Control({}, dict.fromkeys(died, ""), 0, {}, {}))
"""


def test_a_process_that_dies_is_replaced(tmp_path, monkeypatch):
    (tmp_path / "deadly_worker.py").write_text(_DEADLY)
    monkeypatch.syspath_prepend(str(tmp_path))
    worker = importlib.import_module("deadly_worker").Worker
    with Processes(worker, (), 2) as processes:
        found = {r.operator: set(r.control.wrong) for r in processes.judge(["one", "two", "three"])}
        assert found == {"one": set(), "two": {"two a", "two b"}, "three": set()}
        with pytest.raises(CrashError, match="died on last before it ran anything"):
            list(processes.judge(["last"]))


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable,
            "-c",
            "import hal_conformance.app as a; raise SystemExit(a.main())",
            *list(arguments),
        ],
        capture_output=True,
        text=True,
        timeout=180,
    )


def test_faults_reach_what_optionals_sequences_and_maps_hold():
    tensor = Tensor.from_numpy(np.zeros(3, np.float32))
    items = SequenceValue("seq(tensor(float))", (tensor, tensor))
    held = MapValue("map(int64, tensor(float))", Tensor.from_numpy(np.arange(3)), tensor)

    def ones(value):
        return Tensor.from_numpy(value.numpy() + 1)

    changed = mapped(OptionalValue("optional(seq(tensor(float)))", items), ones)
    assert [t.numpy().tolist() for t in changed.value.items] == [[1, 1, 1]] * 2
    changed = mapped(held, ones)
    assert changed.values.numpy().tolist() == [1, 1, 1]
    assert changed.keys.numpy().tolist() == [0, 1, 2]
    none = OptionalValue("optional(tensor(float))", None)
    assert mapped(none, ones) == none


def test_command_prints_the_share_by_kind():
    words = ("selftest", "-o", "Sign", "-d", "reference:cpu", "--types", "none", "-j", "2")
    done = run(*words, "--json", "--fail-under", "10")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["schema"] == "hal.selftest/1"
    assert found["contract"]["caught"] > found["onnx"]["caught"] > 0
    assert found["contract"]["total"] == found["onnx"]["total"]
    assert found["contract"]["total"] == sum(
        k["contract"]["total"] for k in found["kinds"].values()
    )
    assert found["control"]["false_alarms"] == []
    assert found["complete"] is True


def test_an_unknown_kind_is_named():
    with pytest.raises(UsageError, match="wrong axis"):
        operators_of(Request(kinds=("wrong axes",)))
