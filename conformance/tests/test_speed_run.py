"""`hal conformance --speed` on real engines: what is timed, how, and what is left after a stop."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import onnx
import pytest
from hal_conformance.report import Limits, SpeedReport, read
from hal_conformance.speed import targets as targets_module
from hal_conformance.speed.run import PASSES, run_speed
from hal_conformance.speed.targets import (
    PROFILES,
    CeilingTarget,
    Target,
    ceiling_targets,
    operators,
    targets,
)
from hal_conformance.speed.timed import Timed
from hal_conformance.speed.usage import Argument, Instance, usage
from hal_conformance.speed.work import bytes_of, operations_of

from hal import SequenceValue, Tensor, Value
from hal.cli import main
from hal.contract import contract
from hal.plugins import Registry, load_plugins
from hal.routing._environment import machine
from hal.routing._evidence import operator_times
from hal.store import Store
from hal.timing import ROUNDS

BIG = 32 << 20


@pytest.fixture(scope="module")
def registry() -> Iterator[Registry]:
    with load_plugins() as plugins:
        yield plugins


@pytest.fixture(autouse=True)
def steady(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every ceiling counts, however busy the machine is."""
    monkeypatch.setattr("hal_conformance.speed.run._UNSTEADY", float("inf"))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No rests, and ceilings of one small size."""
    monkeypatch.setattr("hal.timing.time.sleep", lambda seconds: None)
    monkeypatch.setattr("hal_conformance.speed.timed._BLOCK", 0.0)
    monkeypatch.setattr(targets_module, "_PRODUCTS", (64,))
    monkeypatch.setattr(targets_module, "_COPIES", (1 << 16,))


def f(*shape: int) -> Argument:
    return Argument("float", shape)


def test_every_operator_of_the_profiles_and_of_the_zoo_is_timed() -> None:
    wanted = {op.key for name in PROFILES for op in contract().operators_of(name)}
    assert {t.key for t in targets()} == operators() == wanted | set(usage().operators)
    first = [t.key for t in targets()[: len(operators())]]
    assert len(set(first)) == len(first), "each operator's first size comes before second ones"


def test_every_size_is_a_valid_model_whose_outputs_are_as_declared(registry: Registry) -> None:
    device = registry.find_device("torch:cpu")
    with registry.host("torch") as host:
        for target in (t for t in targets() if t.bytes < BIG):
            model, inputs = target.made()
            onnx.checker.check_model(onnx.load_from_string(model.data), full_check=True)
            assert target.operations >= 0 and target.bytes >= 0
            executable = host.compile(device, model)
            got = executable.run(inputs)
            executable.close()
            declared = [a for a in target.instance.outputs if a]
            assert [described(v) for v in got.values()] == declared, target.key


def described(value: Value) -> Argument:
    if isinstance(value, SequenceValue):
        (one,) = {described(v) for v in value.items} or {f()}
        shape = (len(value.items), *one.shape) if value.items else (0,)
        return Argument(f"seq({one.type})", shape)
    assert isinstance(value, Tensor)
    return Argument(value.element_type.onnx_name, value.shape)


@pytest.mark.parametrize(
    ("operator", "inputs", "output", "attributes", "operations", "moved"),
    [
        ("Relu", [f(2, 3)], f(2, 3), {}, 6, 48),
        ("MatMul", [f(4, 5), f(5, 6)], f(4, 6), {}, 240, 4 * (20 + 30 + 24)),
        ("Gemm", [f(5, 4), f(5, 6)], f(4, 6), {"transA": 1}, 240, 4 * (20 + 30 + 24)),
        ("Conv", [f(1, 4, 8, 8), f(6, 2, 3, 3)], f(1, 6, 6, 6), {"group": 2}, 7776, 2320),
        ("ConvTranspose", [f(1, 2, 4, 4), f(2, 3, 2, 2)], f(1, 3, 8, 8), {}, 768, 992),
        ("MaxPool", [f(1, 1, 4, 4)], f(1, 1, 2, 2), {"kernel_shape": [2, 2]}, 16, 80),
        ("Attention", [f(1, 2, 8, 4)] * 3, f(1, 2, 8, 4), {}, 2048, 1024),
        ("Gather", [f(1000, 8), Argument("int64", (2,))], f(2, 8), {}, 0, 64 + 16 + 64),
        ("Shape", [f(1000, 1000)], Argument("int64", (2,)), {}, 0, 16),
        ("ReduceSum", [f(10, 10)], f(10, 1), {}, 100, 440),
        ("Softmax", [f(3, 4)], f(3, 4), {}, 60, 96),
    ],
)
def test_operations_and_bytes(
    operator: str,
    inputs: list[Argument],
    output: Argument,
    attributes: dict[str, object],
    operations: float,
    moved: int,
) -> None:
    instance = Instance(1, 18, attributes, tuple(inputs), (output,))
    assert operations_of(operator, instance) == operations
    assert bytes_of(operator, instance) == moved


@pytest.mark.usefixtures("quick")
def test_the_report_has_times_rates_ceilings_and_ratios(
    registry: Registry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HAL_HOME", str(tmp_path))
    file = tmp_path / "report.json"
    arguments = ["-d", "ort:cpu", "-d", "torch:cpu", "-k", "node/test_relu", "--speed"]
    assert main(["conformance", *arguments, "--json", str(file)]) == 0
    ort, torch = (r.speed for r in read(file).reports)
    for speed in (ort, torch):
        assert isinstance(speed, SpeedReport) and speed.complete
        assert {c.name for c in speed.ceilings} == {"matmul", "copy"}
        assert [e.operator for e in speed.entries] == ["Relu", "Relu"]
        for entry in speed.entries:
            assert (
                len(entry.blocks) >= ROUNDS + PASSES - 1 and not entry.typical and not entry.reason
            )
            assert entry.spread and entry.spread >= 1 and entry.memory is not None
            assert speed.share(entry)
    assert ort and torch
    assert (ort.reference, torch.reference) == ("", "ort:cpu")
    assert all(torch.ratio(e) for e in torch.entries)
    assert not any(ort.ratio(e) for e in ort.entries)
    assert torch.entries[0].reference == ort.entries[0].blocks
    with Store() as store:  # routing is told
        kept = operator_times(store, registry.find_device("torch:cpu"), machine())
    assert kept["Relu"] == tuple((e.seconds, e.operations, e.bytes) for e in torch.entries)
    said = capsys.readouterr().out
    assert "ort:cpu: speed of 1 of 1 operators; ceilings: matmul" in said
    assert "times ort:cpu" in said


@pytest.mark.usefixtures("quick")
def test_what_an_engine_refuses_has_its_reason(registry: Registry) -> None:
    device = registry.find_device("ort:cpu")
    chosen = targets(["SwiGLU", "Relu"])
    speed = run_speed(registry, [device], chosen, Limits(), {})["ort:cpu"]
    reasons = {e.operator: e.reason for e in speed.entries}
    assert speed.complete and reasons["Relu"] == ""
    assert "IR version" in reasons["SwiGLU"]


@pytest.mark.usefixtures("quick")
def test_an_emulated_device_is_compared_with_none(registry: Registry) -> None:
    real = registry.find_device("ort:cpu")
    emulated = dataclasses.replace(registry.find_device("torch:cpu"), emulated=True)
    found = run_speed(
        registry, [emulated, real], targets(["Relu"]), Limits(), {}, reference="ort:cpu"
    )
    speed = found["torch:cpu"]
    assert speed.emulated and speed.timed and not speed.ceilings and not speed.reference
    assert not any(e.reference for e in speed.entries)
    assert found["ort:cpu"].ceilings


@pytest.mark.usefixtures("quick")
def test_every_pass_has_hosts_of_its_own_and_other_means_are_timed_beside_the_ceilings(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    pids: list[int] = []
    prepare = Timed.prepare

    def noted(self: Timed) -> None:
        prepare(self)
        pids.append(self._host.pid)

    monkeypatch.setattr(Timed, "prepare", noted)
    monkeypatch.setattr("hal_conformance.speed.run._MOST_PASSES", PASSES)
    asked: list[str] = []
    ran: list[str] = []

    def beside(target: CeilingTarget) -> dict[str, Callable[[], float]]:
        asked.append(target.what)
        return {f"mine {target.what}": lambda: float(bool(ran.append(target.what)))}

    device = registry.find_device("ort:cpu")
    speed = run_speed(registry, [device], targets(["Relu"]), Limits(), {}, beside=beside)["ort:cpu"]
    assert len(set(pids)) == PASSES
    assert [len(e.blocks) for e in speed.entries] == [ROUNDS + PASSES - 1] * 2
    assert asked == [t.what for t in ceiling_targets()] * PASSES
    assert len(ran) == len(ceiling_targets()) * (ROUNDS + PASSES - 1)
    assert not speed.notes


@pytest.mark.usefixtures("quick")
def test_one_pass_alone_is_said(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hal_conformance.speed.run._FIRST", 1e9)
    device = registry.find_device("ort:cpu")
    speed = run_speed(registry, [device], targets(["Relu"]), Limits(), {}, budget=1e-6)["ort:cpu"]
    assert [len(e.blocks) for e in speed.entries] == [ROUNDS] * 2
    assert speed.notes[-1].startswith("2 sizes were timed in one pass")


def test_an_empty_call_says_which_copies_are_ceilings(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hal.timing.time.sleep", lambda seconds: None)
    monkeypatch.setattr(targets_module, "_PRODUCTS", (64,))
    monkeypatch.setattr(targets_module, "_COPIES", (1 << 13, 1 << 24))
    device = registry.find_device("ort:cpu")
    speed = run_speed(registry, [device], targets(["Not"]), Limits(), {})["ort:cpu"]
    copies = [c for c in speed.ceilings if c.name == "copy"]
    assert [c.bytes for c in copies] == [1 << 24], "8 KiB take less than a call"
    assert all(c.rate > 1e9 and c.spread >= 1 for c in copies)
    assert len([c for c in speed.ceilings if c.name == "matmul"]) == 1, "the best product"


@pytest.mark.usefixtures("quick")
def test_spent_time_is_said(registry: Registry) -> None:
    device = registry.find_device("ort:cpu")
    speed = run_speed(registry, [device], targets(["Relu"]), Limits(), {}, budget=1e-9)["ort:cpu"]
    assert speed.complete and not speed.timed
    assert {e.reason for e in speed.entries} == {"the time for the device was spent"}
    assert "2 sizes were not timed" in speed.notes[0] and "--speed-budget" in speed.notes[0]


@pytest.mark.usefixtures("quick")
def test_ceilings_leave_time_for_the_operators(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hal_conformance.speed.run._TOGETHER", 1)
    monkeypatch.setattr("hal_conformance.speed.run._CEILINGS", 1e-9)
    device = registry.find_device("ort:cpu")
    speed = run_speed(registry, [device], targets(["Relu"]), Limits(), {})["ort:cpu"]
    assert len(speed.timed) == len(speed.entries) and not speed.ceilings
    assert f"{len(ceiling_targets())} models for ceilings were not timed" in speed.notes[0]


@pytest.mark.usefixtures("quick")
def test_what_tells_of_no_speed_is_no_ceiling(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hal_conformance.speed.run._UNSTEADY", 0.5)
    device = registry.find_device("ort:cpu")
    speed = run_speed(registry, [device], targets(["Relu"]), Limits(), {})["ort:cpu"]
    assert len(speed.timed) == len(speed.entries) and not speed.ceilings
    possible = [t for t in ceiling_targets() if t.name != "call"]
    assert f"{len(possible)} models are no ceilings" in speed.notes[0]


@pytest.mark.usefixtures("quick")
def test_control_c_keeps_what_has_blocks_enough(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hal_conformance.speed.run._TOGETHER", 1)
    prepare = Timed.prepare
    count = iter(range(100))

    def stopped(self: Timed) -> None:
        if next(count) == len(ceiling_targets()) + 2:
            raise KeyboardInterrupt
        prepare(self)

    monkeypatch.setattr(Timed, "prepare", stopped)
    done: list[object] = []
    chosen = targets(["Relu", "Add"])
    speed = run_speed(
        registry, [registry.find_device("ort:cpu")], chosen, Limits(), {}, advance=done.append
    )["ort:cpu"]
    assert not speed.complete and speed.planned == 4
    assert [e.operator for e in speed.timed] == ["Add", "Relu"]
    assert done == chosen[:2]
    assert len(speed.ceilings) == 2


@pytest.mark.usefixtures("quick")
def test_after_control_c_the_report_is_written_and_the_status_is_130(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def stopped(self: Timed) -> float:
        raise KeyboardInterrupt

    monkeypatch.setattr(Timed, "block", stopped)
    file = tmp_path / "report.json"
    arguments = ["-d", "ort:cpu", "-k", "node/test_relu", "--speed", "--json", str(file)]
    assert main(["conformance", *arguments]) == 130
    (report,) = json.loads(file.read_text("utf-8"))["reports"]
    assert report["complete"] and report["speed"]["planned"] == 2
    assert report["speed"]["entries"] == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--speed-budget", "9"], "--speed-budget is for --speed"),
        (["--speed-reference", "ort:cpu"], "--speed-reference is for --speed"),
        (["--speed", "--show", "-k", "test_relu"], "leave out --speed"),
        (["--speed", "-k", "test_ai_onnx_ml_label"], "exercise no operator that is timed"),
        (["--speed", "--speed-reference", "ort:gpu", "-k", "test_relu"], "ort:gpu"),
        (["--speed", "--suite", "torch"], "times ONNX's operators, and the suite torch has others"),
    ],
)
def test_bad_arguments(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["conformance", "-d", "ort:cpu", *arguments]) != 0
    assert said in capsys.readouterr().err


def test_a_target_says_what_it_reads() -> None:
    instance = Instance(1, 18, {}, (f(2, 3), None, Argument("int64", ())), (f(2, 3),))
    assert Target("Relu", instance).shape == "float[2,3], int64[]"
