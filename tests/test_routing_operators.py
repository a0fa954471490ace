"""What conformance timed of operators, one by one, tells routing of models made of them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from hal import Device
from hal.routing import Candidate, record_times
from hal.routing._candidates import Entry
from hal.routing._cost import CostModel, Work, added_up, guess, measured, work_of
from hal.routing._environment import machine
from hal.routing._evidence import operator_times
from hal.store import Store

onnx_parser = pytest.importorskip("onnx.parser")
DEVICE = Device("made:cpu", "cpu", versions={"made": "1"})
ENTRY = Entry(Candidate(DEVICE), "float32", 1.0, 0.0)


def model_work() -> Work:
    from hal import Model

    proto = onnx_parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 18]> g (float[64,64] x) => (float[64,64] y) '
        "{ a = MatMul(x, x) b = Relu(a) y = MatMul(b, x) }"
    )
    return work_of(Model(proto.SerializeToString()), {"x": (64, 64)})


def test_times_are_kept_for_these_versions_on_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HAL_HOME", str(tmp_path))
    assert record_times(DEVICE, {"Relu": [(1.0, 2.0, 3.0)], "Add": [(1.0, 1.0, 1.0)]})
    assert record_times(DEVICE, {"Relu": [(4.0, 5.0, 6.0), (7.0, 8.0, 9.0)]})
    with Store() as store:
        assert operator_times(store, DEVICE, machine()) == {
            "Relu": ((4.0, 5.0, 6.0), (7.0, 8.0, 9.0)),
            "Add": ((1.0, 1.0, 1.0),),
        }
        newer = Device("made:cpu", "cpu", versions={"made": "2"})
        assert operator_times(store, newer, machine()) == {}
        assert operator_times(store, DEVICE, {"machine": "another"}) == {}
    record_times(newer, {"Add": [(1.0, 1.0, 1.0)]})
    with Store() as store:
        assert list(operator_times(store, newer, machine())) == ["Add"]


def test_a_model_takes_what_its_operators_take_at_their_rates() -> None:
    work = model_work()
    assert work.operators == {"MatMul": (2 * 2 * 64**3, 6 * 4 * 4096), "Relu": (0.0, 2 * 4 * 4096)}
    times = {
        "MatMul": ((1e-3 + 1e-6, 2e6, 1e3), (3e-3 + 1e-6, 6e6, 1e3)),  # 5e-10 s an operation
        "Relu": ((2e-3 + 1e-6, 1.0, 1e6),),  # 2e-9 s a byte
        "Shape": ((1e-6, 0.0, 8.0),),  # what a run costs at least
    }
    wanted = 1e-6 + 5e-10 * 4 * 64**3 + 2e-9 * 2 * 4 * 4096 + 3 * 2e-6
    assert added_up(times, ENTRY, work) == pytest.approx(wanted)


def test_too_little_of_a_model_tells_nothing() -> None:
    assert added_up({"Relu": ((1e-3, 1.0, 1e6),)}, ENTRY, model_work()) == 0.0
    assert added_up({}, ENTRY, model_work()) == 0.0


def test_it_moves_the_prediction_of_the_usual_form_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HAL_HOME", str(tmp_path))
    work = model_work()
    slow = {key: [(1.0, 1e6, 1e6)] for key in ("MatMul", "Relu")}
    other = Entry(Candidate(DEVICE, {"threads": 1}), "float32", 1.0, 0.0)
    with Store() as store:
        before = CostModel(store, machine()).predict(ENTRY, work)
        assert before == guess(ENTRY, work)
    record_times(DEVICE, {**slow, "Shape": [(1e-6, 0.0, 8.0)]})
    with Store() as store:
        costs = CostModel(store, machine())
        added = added_up(operator_times(store, DEVICE, machine()), ENTRY, work)
        after = costs.predict(ENTRY, work)
        assert before < after < added
        # The evidence weighs 1, the declared speed 0.3.
        assert math.log(after / before) == pytest.approx(math.log(added / before) / 1.3)
        assert costs.predict(other, work) == guess(other, work)


def test_a_candidate_that_was_never_run_is_no_better_for_it(tmp_path: Path) -> None:
    """When all that was measured is slower than its roofline, so is the rest."""
    work = model_work()
    unknown = Entry(Candidate(DEVICE, {"mode": "other"}), "float32", 0.75, 0.0)
    gpu = Entry(Candidate(Device("made:gpu", "gpu")), "float32", 1.0, 0.0)
    with Store(tmp_path / "store.sqlite") as store:
        for model in ("one", "two"):
            row = {**measured(ENTRY, work, 9 * guess(ENTRY, work)), "machine": machine()}
            label = ENTRY.candidate.label
            store.put("measurements", f"{label}|{model}", {**row, "model": model}, group=label)
        costs = CostModel(store, machine())
        assert guess(ENTRY, work) < costs.predict(ENTRY, work) < costs.predict(unknown, work)
        assert costs.predict(gpu, work) == guess(gpu, work), "another kind of device"
