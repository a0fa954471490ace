"""One case on one device: every way it can end is the right outcome, and one only."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from hal_conformance.case import Case, DataSet
from hal_conformance.judge import NEEDS_CONFIRMATION, run_case
from hal_conformance.report import CaseResult

from hal import (
    Ability,
    BackendSpec,
    Device,
    Evidence,
    Model,
    NodePlacement,
    Outcome,
    Placement,
    Support,
    Tensor,
    Value,
)
from hal import errors as hal_errors
from hal.errors import (
    CrashError,
    DeadlineError,
    ExecutionError,
    FallbackError,
    HalError,
    MemoryLimitError,
    SkewError,
    UnfedError,
    UnsupportedError,
)

CPU, NPU = Device("fake:cpu", "cpu"), Device("fake:npu", "npu")
OUTCOME_OF = {
    UnsupportedError: Outcome.UNSUPPORTED,
    SkewError: Outcome.SKEW,
    UnfedError: Outcome.UNFED,
    FallbackError: Outcome.FALLBACK,
    CrashError: Outcome.CRASH,
    DeadlineError: Outcome.TIMEOUT,
    MemoryLimitError: Outcome.MEMORY,
}
ERRORS = sorted(
    (
        e
        for n in hal_errors.__all__
        if isinstance(e := getattr(hal_errors, n), type) and issubclass(e, HalError)
    ),
    key=lambda e: e.__name__,
)
STEPS = ("compile", "run", "placement")


def tensor(*numbers: float) -> Tensor:
    return Tensor.from_numpy(np.array(numbers, np.float32))


CASE = Case(
    id="fake/node/test_two",
    suite="fake",
    nodes=("first", "second"),
    operators=("Abs", "Neg"),
    cells=(),
    single_operator="",
    expanded=False,
    opset=20,
    ir_version=9,
    rtol=1e-3,
    atol=1e-7,
    model=Model(b"model"),
    data_sets=(DataSet({"x": tensor(1, 2)}, {"y": tensor(1, 2), "z": tensor(3)}),),
)
RIGHT: dict[str, Value] = {"y": tensor(1, 2), "z": tensor(3)}


class Executable:
    """Just `run`; what it gives and where it ran are the test's."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def run(self, inputs: Mapping[str, Value]) -> Mapping[str, Value]:
        self._backend.did("run")
        return self._backend.outputs


class PlacedExecutable(Executable):
    def placement(self) -> Placement:
        self._backend.did("placement")
        return Placement(tuple(self._backend.nodes))

    def close(self) -> None:
        self._backend.did("close")


class Backend:
    """Just devices, supports and compile."""

    def __init__(
        self,
        outputs: Mapping[str, Value] | None = None,
        *,
        placed: bool = False,
        nodes: tuple[NodePlacement, ...] = (),
        fails: Mapping[str, BaseException] | None = None,
    ) -> None:
        self.outputs = RIGHT if outputs is None else outputs
        self.placed, self.nodes, self.fails = placed, nodes, fails or {}
        self.calls: list[str] = []

    def did(self, step: str) -> None:
        self.calls.append(step)
        if step in self.fails:
            raise self.fails[step]

    def devices(self) -> list[Device]:
        return [CPU, NPU]

    def supports(self, device: Device, model: Model) -> Support:
        self.did("supports")
        return Support()

    def compile(self, device: Device, model: Model, options: Mapping[str, Any]) -> Executable:
        assert model is CASE.model
        self.did("compile")
        return (PlacedExecutable if self.placed else Executable)(self)

    @property
    def spec(self) -> BackendSpec:
        able = frozenset({Ability.PLACEMENT, Ability.CLOSE} if self.placed else ())
        return BackendSpec("fake", lambda: self, abilities=able)


def judge(backend: Backend, device: Device = CPU, case: Case = CASE) -> CaseResult:
    return run_case(case, device, backend.spec, backend, {})


def nodes(*placements: str, evidence: Evidence = Evidence.ASSIGNED) -> tuple[NodePlacement, ...]:
    names = zip(CASE.nodes, placements, strict=True)
    return tuple(NodePlacement(name, device, evidence) for name, device in names)


@pytest.mark.parametrize("device", [CPU, NPU], ids=lambda d: d.id)
def test_backend_with_the_four_calls_passes_as_declared(device: Device) -> None:
    backend = Backend()
    result = judge(backend, device)
    assert (result.outcome, result.evidence, result.reason) == (Outcome.PASS, "declared", "")
    assert (result.id, result.operators) == (CASE.id, CASE.operators)
    assert backend.calls == ["compile", "run"]  # nothing that it did not declare


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("error", ERRORS, ids=lambda e: e.__name__)
def test_each_error_is_its_outcome(error: type[HalError], step: str) -> None:
    backend = Backend(placed=True, nodes=nodes(CPU.id, CPU.id), fails={step: error("the reason")})
    result = judge(backend)
    assert result.outcome is OUTCOME_OF.get(error, Outcome.ERROR)
    assert (result.reason, result.evidence) == ("the reason", "")
    assert ("close" in backend.calls) is (step != "compile")


class StubbornError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text for you")


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (KeyError("y"), "KeyError: 'y'"),
        (MemoryError(), "MemoryError"),
        (StubbornError(), "StubbornError"),
    ],
    ids=["KeyError", "MemoryError", "StubbornError"],
)
def test_any_other_exception_of_the_backend_is_an_error(
    step: str, error: Exception, reason: str
) -> None:
    result = judge(Backend(placed=True, nodes=nodes(CPU.id, CPU.id), fails={step: error}))
    assert (result.outcome, result.reason) == (Outcome.ERROR, reason)


def test_ctrl_c_is_no_outcome() -> None:
    with pytest.raises(KeyboardInterrupt):
        judge(Backend(fails={"run": KeyboardInterrupt()}))


def test_what_close_raises_changes_no_verdict() -> None:
    fails = {"close": CrashError("died while closing")}
    backend = Backend(placed=True, nodes=nodes(CPU.id, CPU.id), fails=fails)
    assert judge(backend).outcome is Outcome.PASS
    assert backend.calls == ["compile", "run", "placement", "close"]


WRONG: dict[str, tuple[Mapping[str, Value], str]] = {
    "value": ({**RIGHT, "y": tensor(1, 2.1)}, "output 'y': 1 of 2 elements"),
    "second-output": ({**RIGHT, "z": tensor(4)}, "output 'z'"),
    "nan": ({**RIGHT, "y": tensor(1, np.nan)}, "nan"),
    "dtype": ({**RIGHT, "z": Tensor.from_numpy(np.array([3.0]))}, "tensor(double)"),
    "shape": ({**RIGHT, "z": Tensor.from_numpy(np.float32([[3]]))}, "[1, 1]"),
    "missing": ({"y": RIGHT["y"]}, "output 'z' is missing"),
    "nothing": ({}, "output 'y' is missing"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_output(name: str) -> None:
    outputs, text = WRONG[name]
    result = judge(Backend(outputs))
    assert result.outcome is Outcome.WRONG
    assert text in result.reason
    assert result.evidence == "declared"


def test_outputs_that_nobody_asked_for_do_not_count() -> None:
    assert judge(Backend({**RIGHT, "more": tensor(np.nan)})).outcome is Outcome.PASS


def test_within_the_tolerance_is_right_and_just_outside_is_not() -> None:
    assert judge(Backend({**RIGHT, "z": tensor(3.0029)})).outcome is Outcome.PASS
    assert judge(Backend({**RIGHT, "z": tensor(3.0031)})).outcome is Outcome.WRONG


def test_every_data_set_is_run_and_the_first_mistake_told() -> None:
    right, wrong = CASE.data_sets[0], DataSet({}, {"y": tensor(7, 7)})
    case = dataclasses.replace(CASE, data_sets=(right, wrong, DataSet({}, {"z": tensor(8)})))
    backend = Backend()
    result = judge(backend, case=case)
    assert result.outcome is Outcome.WRONG
    assert "'y'" in result.reason
    assert backend.calls.count("run") == 3


ON_CPU: dict[str, tuple[tuple[str, str], Outcome]] = {
    "both": ((CPU.id, CPU.id), Outcome.PASS),
    "one-folded": ((CPU.id, ""), Outcome.PASS),
    "none-left": (("", ""), Outcome.PASS),
    "elsewhere": ((CPU.id, "fake:other"), Outcome.FALLBACK),
}
ON_NPU: dict[str, tuple[tuple[str, str], Outcome]] = {
    "both": ((NPU.id, NPU.id), Outcome.PASS),
    "one-folded": ((NPU.id, ""), Outcome.PASS),
    "none-left": (("", ""), Outcome.FALLBACK),
    "one-on-the-cpu": ((NPU.id, CPU.id), Outcome.FALLBACK),
    "folded-and-on-the-cpu": (("", CPU.id), Outcome.FALLBACK),
}


@pytest.mark.parametrize(
    ("device", "name", "where", "outcome"),
    [
        (device, name, *row)
        for device, table in ((CPU, ON_CPU), (NPU, ON_NPU))
        for name, row in table.items()
    ],
    ids=lambda x: x if isinstance(x, str) else getattr(x, "id", None),
)
def test_where_it_ran_decides(
    device: Device, name: str, where: tuple[str, str], outcome: Outcome
) -> None:
    assert judge(Backend(placed=True, nodes=nodes(*where)), device).outcome is outcome


def test_reason_of_a_fallback_names_the_node_and_the_place() -> None:
    one = judge(Backend(placed=True, nodes=nodes(NPU.id, CPU.id)), NPU)
    assert one.reason == "node 'second' ran on fake:cpu"
    two = judge(Backend(placed=True, nodes=nodes(CPU.id, CPU.id)), NPU)
    assert two.reason == "node 'first' and 1 more ran on fake:cpu"
    none = judge(Backend(placed=True, nodes=nodes("", "")), NPU)
    assert none.reason == "no node was left to run on fake:npu"


def test_fallback_comes_before_wrong() -> None:
    wrong = {**RIGHT, "y": tensor(9, 9)}
    result = judge(Backend(wrong, placed=True, nodes=nodes(NPU.id, CPU.id)), NPU)
    assert result.outcome is Outcome.FALLBACK
    assert judge(Backend(wrong, placed=True, nodes=nodes(NPU.id, NPU.id)), NPU).outcome is (
        Outcome.WRONG
    )


@pytest.mark.parametrize("evidence", list(Evidence), ids=lambda e: e.value)
def test_evidence_is_that_of_the_weakest_node(evidence: Evidence) -> None:
    weakest = nodes(CPU.id, CPU.id, evidence=Evidence.TRACED)[:1]
    weakest += nodes(CPU.id, CPU.id, evidence=evidence)[1:]
    assert judge(Backend(placed=True, nodes=weakest)).evidence == evidence.value


def test_disputed_case_is_not_run() -> None:
    backend = Backend()
    result = judge(backend, case=dataclasses.replace(CASE, disputed="two oracles disagree"))
    assert (result.outcome, result.reason) == (Outcome.DISPUTED, "two oracles disagree")
    assert not backend.calls


def test_random_case_is_judged_by_statistics() -> None:
    draw = np.array([0, 1], np.float32)
    data = DataSet({"x": tensor(0.5, 0.5)}, {"y": Tensor.from_numpy(draw)})
    case = dataclasses.replace(
        CASE, judge="statistics", single_operator="Bernoulli", data_sets=(data,)
    )
    other = Tensor.from_numpy(1 - draw)
    assert judge(Backend({"y": other}), case=case).outcome is Outcome.PASS
    assert judge(Backend({"y": tensor(0.5, 1)}), case=case).outcome is Outcome.WRONG


def test_seconds_reach_from_compiling_to_comparing() -> None:
    clock: Callable[[], float] = itertools.count(10.0, 0.5).__next__
    backend = Backend()
    result = run_case(CASE, CPU, backend.spec, backend, {}, clock)
    assert result.seconds == 0.5


def test_what_ends_a_host_is_confirmed() -> None:
    assert set(NEEDS_CONFIRMATION) == {Outcome.CRASH, Outcome.TIMEOUT, Outcome.MEMORY}


def test_execution_error_of_a_host_keeps_its_words() -> None:
    result = judge(Backend(fails={"run": ExecutionError("ValueError: no")}))
    assert (result.outcome, result.reason) == (Outcome.ERROR, "ValueError: no")
