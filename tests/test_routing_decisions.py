"""Decisions: the fastest right candidate wins, the store remembers, and everything is explained."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import hal
from hal.errors import BrokenError, UnsupportedError, UsageError
from hal.plugins import Registry, load_plugins
from hal.routing import Policy, Route, Row, _candidates, record_evidence, route
from hal.routing._decide import Request
from hal.routing._identity import identify
from hal.routing._route import Router
from hal.store import Store

FAKE = """
    import os, time
    import numpy as np
    import hal
    from hal.backend import Choice, ReferenceUse, Support, UnsupportedNode

    class Executable:
        def __init__(self, options):
            self.options = options
            self.calls = 0

        def run(self, inputs):
            self.calls += 1
            if self.calls > self.options.get("dies", 10**9):
                os._exit(3)
            x = inputs["x"].numpy()
            delay = self.options.get("delay", 1)
            if "large" in self.options and x.size > 64:
                delay = self.options["large"]
            time.sleep(delay / 1000)
            if self.options.get("die"):
                os._exit(3)
            off = self.options.get("off", 0)
            if self.calls > self.options.get("sours", 10**9):
                off = 0.5
            self.first = x if self.calls == 1 else self.first
            if not np.array_equal(x, self.first):
                off = self.options.get("elsewhere", off)
            y = np.maximum(x, 0) * np.float32(1 + off)
            return {"y": hal.Tensor.from_numpy(y)}

    class Backend:
        def devices(self):
            return [hal.Device("fake:cpu", "cpu", versions={"fake-sdk": "1"}),
                    hal.Device("fake:npu", "npu", emulated=True)]

        def supports(self, device, model):
            if b"Exotic" in model.data:
                return Support((UnsupportedNode("n", "Exotic-1", "no kernel"),))
            return Support()

        def compile(self, device, model, options):
            return Executable(options)

    CHOICES = (LISTED,)

    @hal.hookimpl
    def hal_backends():
        use = ReferenceUse("fake:cpu", {"delay": 0}, "float64", rank=-1)
        yield hal.BackendSpec("fake", Backend, reference=use, choices=CHOICES)
"""
OWN_POLICIES = """
    import hal
    from hal.policy import PolicySpec

    @hal.hookimpl
    def hal_policies():
        yield PolicySpec("slowest", lambda row: 1 / row.median)
        yield PolicySpec("sick", lambda row: 0.0)
"""
FAKES = ("fake:cpu",)


def fake(site: Any, *choices: str, version: str = "1.0") -> None:
    site.add("hal-fake", FAKE.replace("LISTED", ", ".join(choices)), version=version)


def relu(shape: list[Any], op: str = "Relu", domain: str = "") -> onnx.ModelProto:
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node(op, ["x"], ["y"], "n", domain=domain)],
        "g",
        [value("x", TensorProto.FLOAT, shape)],
        [value("y", TensorProto.FLOAT, shape)],
    )
    sets = [helper.make_opsetid("", 17), helper.make_opsetid("made.up", 1)]
    return helper.make_model(graph, opset_imports=sets, ir_version=8)


@pytest.fixture
def fakes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every ready device is the made-up one, so that a load asks no real engine."""

    def devices_of(registry: Registry, named: Any, *, allow_emulated: bool) -> Any:
        return _candidates.devices_of(registry, FAKES, allow_emulated=allow_emulated)

    monkeypatch.setattr("hal.routing._decide.devices_of", devices_of)


def states(found: Route) -> dict[str, str]:
    return {row.candidate.label: row.state for row in found.rows}


def row_of(found: Route, label: str) -> Row:
    return next(row for row in found.rows if row.candidate.label == label)


def test_the_fastest_right_candidate_wins(site: Any) -> None:
    fake(
        site,
        'Choice({"delay": 20}, speed=0.4)',
        'Choice({"delay": 0, "off": 0.5}, speed=0.3)',
        'Choice({"delay": 3}, speed=0.2)',
        'Choice({"die": True}, speed=0.1)',
        'Choice({"delay": 1, "off": 0.004}, "bfloat16")',
        'Choice({"delay": 9}, speed=0.01)',
        'Choice({"delay": 8}, kinds=("gpu",))',
    )
    said: list[str] = []
    found = route(relu([4]), devices=FAKES, say=said.append)
    assert found.winner.candidate.options == {"delay": 20}, "the only two tried: right, and wrong"
    assert "trying fake:cpu delay=20" in said
    wrong = row_of(found, "fake:cpu delay=0 off=0.5")
    assert wrong.state == "wrong" and "off by 0.5" in wrong.reason
    assert "faster than fake:cpu delay=20, and wrong" in wrong.reason
    inexact = row_of(found, "fake:cpu delay=1 off=0.004")
    assert inexact.state == "struck" and "budget of error" in inexact.reason
    skipped = row_of(found, "fake:cpu delay=9")
    assert skipped.state == "skipped" and "40.00 times the best prediction" in skipped.reason
    assert not any("delay=8" in label for label in states(found)), "for another kind of device"
    assert found.inputs == "synthetic" and found.reference.startswith("fake:cpu in float64")

    found = route(relu([4]), devices=FAKES, accuracy=0.01)
    assert found.winner.candidate.options == {"delay": 1, "off": 0.004}
    assert found.winner.error == pytest.approx(0.004, rel=0.1)
    assert all("times the" in row.reason for row in found.rows if row.state == "lost")
    text = found.text()
    assert "is best by latency" in text and "1.00%" in text and "synthetic" in text


@pytest.mark.parametrize("slower", [3, 30])
def test_answers_that_sour_while_they_are_timed_are_wrong(site: Any, slower: int) -> None:
    fake(
        site,
        'Choice({"delay": 2, "sours": 8}, speed=0.4)',
        'Choice({"delay": SLOWER}, speed=0.3)'.replace("SLOWER", str(slower)),
    )
    found = route(relu([4]), devices=FAKES)
    assert found.winner.candidate.options == {"delay": slower}
    assert found.winner.reason == ""
    sour = row_of(found, "fake:cpu delay=2 sours=8")
    assert (sour.state, sour.blocks) == ("wrong", ())
    assert sour.reason.startswith("after it was timed, output 'y' is off by 0.5")


def test_another_type_must_be_right_on_more_than_one_draw(site: Any) -> None:
    fake(
        site,
        'Choice({"delay": 0, "elsewhere": 0.1}, "bfloat16", speed=0.4)',
        'Choice({"delay": 2, "elsewhere": 0.01}, "bfloat16", speed=0.3)',
        'Choice({"delay": 9}, speed=0.01)',
    )
    found = route(relu([4]), devices=FAKES, accuracy=0.02)
    assert found.winner.candidate.options == {"delay": 2, "elsewhere": 0.01}
    assert found.winner.error == pytest.approx(0.01, rel=1e-3)
    wrong = row_of(found, "fake:cpu delay=0 elsewhere=0.1")
    assert wrong.state == "wrong" and "off by 0.1, allowed 0.02" in wrong.reason
    own = {"x": np.float32([1, -2, 3, 4])}
    found = route(relu([4]), devices=FAKES, accuracy=0.02, inputs=own, cache=False)
    assert found.winner.candidate.options == {"delay": 0, "elsewhere": 0.1}, "the user's own alone"


def test_what_was_measured_orders_the_next_model(site: Any) -> None:
    fake(
        site,
        'Choice({"delay": 8}, speed=3.0)',
        'Choice({"delay": 9}, speed=2.9)',
        'Choice({"delay": 1}, speed=2.0)',
        'Choice({"delay": 10}, speed=0.4)',
        'Choice({"delay": 11}, speed=0.4)',
    )
    first = route(relu([4]), devices=FAKES)
    assert first.winner.candidate.options == {"delay": 8}
    second = route(relu([5]), devices=FAKES)
    assert second.winner.candidate.options == {"delay": 1}, "the others are known to be slow"
    assert row_of(second, "fake:cpu delay=9").state == "skipped"


def test_crashes_and_refusals_are_told(site: Any) -> None:
    fake(site, 'Choice({"die": True}, speed=9.0)', 'Choice({"delay": 1})')
    found = route(relu([4]), devices=FAKES)
    dead = row_of(found, "fake:cpu die=True")
    assert dead.state == "failed" and dead.reason.startswith("CrashError")
    assert found.winner.candidate.options == {"delay": 1} and found.clear
    with pytest.raises(UnsupportedError, match=r"Exotic-1: no kernel"):
        route(relu([4], "Exotic", "made.up"), devices=FAKES)


def test_a_candidate_that_dies_while_it_is_timed_loses(site: Any) -> None:
    fake(site, 'Choice({"delay": 1, "dies": 9}, speed=9.0)', 'Choice({"delay": 2})')
    found = route(relu([4]), devices=FAKES)
    dead = row_of(found, "fake:cpu delay=1 dies=9")
    assert dead.state == "failed" and "CrashError" in dead.reason and not dead.blocks
    assert found.winner.candidate.options == {"delay": 2} and found.clear


def test_nothing_right_is_one_error(site: Any) -> None:
    fake(site, 'Choice({"off": 0.5})', 'Choice({"off": 0.25})')
    with pytest.raises(UnsupportedError, match=r"(?=.*off by 0\.25)(?=.*off by 0\.5,)"):
        route(relu([4]), devices=FAKES)


def test_emulated_devices_take_part_when_asked_for(site: Any) -> None:
    fake(site, 'Choice({"delay": 1})')
    found = route(relu([4]), devices=("fake:cpu", "fake:npu"))
    assert states(found) == {"fake:cpu delay=1": "won", "fake:npu delay=1": "struck"}
    assert "--allow-emulated" in row_of(found, "fake:npu delay=1").reason
    found = route(relu([4]), devices=("fake:npu",), allow_emulated=True)
    assert states(found) == {"fake:npu delay=1": "won"}


def test_no_emulated_device_takes_part_unasked(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(site, 'Choice({"delay": 1})')
    with load_plugins() as registry:
        ready = registry.probe(["fake"])
        monkeypatch.setattr(registry, "probe", lambda keep: ready)
        devices, struck = _candidates.devices_of(registry, (), allow_emulated=False)
        assert [d.id for d in devices] == ["fake:cpu", "fake:npu"]
        assert list(struck) == ["fake:npu"] and "--allow-emulated" in struck["fake:npu"]
        _, struck = _candidates.devices_of(registry, (), allow_emulated=True)
        assert not struck


def test_a_decision_is_kept_until_something_changes(
    site: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fake(site, 'Choice({"delay": 1})')
    first = route(relu([4]), devices=FAKES)
    again = route(relu([4]), devices=FAKES)
    assert again.cached and not first.cached and again.rows == first.rows
    assert not route(relu([4]), devices=FAKES, policy="p99").cached, "another question"
    assert not route(relu([4]), devices=FAKES, cache=False).cached
    assert not first.stale
    # An unrelated package does not make it stale; the plugin's own version does.
    site.add("some-other-package", group="")
    assert route(relu([4]), devices=FAKES).cached
    info = site.path / "hal_fake-1.0.dist-info"
    text = (info / "METADATA").read_text().replace("Version: 1.0", "Version: 2.0")
    (info / "METADATA").write_text(text)
    info.rename(site.path / "hal_fake-2.0.dist-info")
    with caplog.at_level(logging.WARNING):
        new = route(relu([4]), devices=FAKES)
    assert not new.cached and new.stale == ("hal-fake was 1.0 and is 2.0",)
    assert "hal-fake was 1.0 and is 2.0" in caplog.text and "stale" in new.text()
    assert route(relu([4]), devices=FAKES).cached


def test_a_stored_route_of_another_form_is_decided_anew(site: Any) -> None:
    fake(site, 'Choice({"delay": 1})')
    route(relu([4]), devices=FAKES)
    with Store() as store:
        (row,) = store.rows("routes")
        for junk in ({}, {"route": {"version": 99}}):
            store.put("routes", row.key, junk)
            assert not route(relu([4]), devices=FAKES).cached


def test_what_conformance_found_strikes_out(site: Any) -> None:
    fake(site, 'Choice({"delay": 1})')
    device = hal.Device("fake:cpu", "cpu", versions={"fake-sdk": "1"})
    assert record_evidence(device, {"Relu": "2 cases; wrong: off by 2", "Add": ""})
    with pytest.raises(UnsupportedError, match=r"Relu: no case of it passed here \(2 cases; wrong"):
        route(relu([4]), devices=FAKES)
    # Another version of the runtime has proved nothing yet, and a later run may clear it.
    newer = dataclasses.replace(device, versions={"fake-sdk": "2"})
    record_evidence(newer, {"Relu": "2 cases; wrong: off by 2"})
    assert route(relu([4]), devices=FAKES).winner.state == "won"
    record_evidence(device, {"Relu": "2 cases; wrong: off by 2"})
    record_evidence(device, {"Relu": ""})
    assert route(relu([4]), devices=FAKES, cache=False).winner.state == "won"


def test_own_inputs_and_their_errors(site: Any) -> None:
    fake(site, 'Choice({"delay": 1})')
    x = np.ones(4, np.float32)
    assert route(relu([4]), devices=FAKES, inputs={"x": x}).inputs == "given"
    for inputs, message in (
        ({}, "no value for input 'x'"),
        ({"z": x}, "the model has no input 'z'"),
        ({"x": x.astype(int)}, r"input 'x': expected .*float"),
        ({"x": x[:3]}, r"input 'x': expected .*4\], got .*3\]"),
    ):
        with pytest.raises(UsageError, match=message):
            route(relu([4]), devices=FAKES, inputs=inputs)
    for given, message in (
        ({"accuracy": 2.0}, "between 0 and 1, got 2"),
        ({"budget": 0}, "a number of seconds, got 0"),
        ({"policy": "latencie"}, "Did you mean 'latency'"),
        ({"policy": "memory<2Gb"}, "memory<2GiB"),
        ({"policy": "latency,p99"}, "two goals"),
        ({"devices": ("fake:gpu",)}, "no device 'fake:gpu'"),
        ({"sizes": {"batch": 2}}, "no open dimension 'batch'"),
    ):
        with pytest.raises(UsageError, match=message):
            route(relu([4]), **{"devices": FAKES, **given})  # type: ignore[arg-type]


def test_limits_rule_out(site: Any) -> None:
    fake(site, 'Choice({"delay": 1})', 'Choice({"delay": 6})')
    found = route(relu([4]), devices=FAKES, policy="latency<4ms")
    assert states(found) == {"fake:cpu delay=1": "won", "fake:cpu delay=6": "lost"}
    with pytest.raises(UnsupportedError, match=r"delay=1: over the limit latency<0\.5ms"):
        route(relu([4]), devices=FAKES, policy="latency<0.5ms")


def test_throughput_tells_its_streams(site: Any) -> None:
    fake(site, 'Choice({"delay": 4})')
    found = route(relu([4]), devices=FAKES, policy="throughput")
    assert found.winner.streams > 1, "sleeping threads do not get in one another's way"
    assert found.winner.throughput > 260 and found.winner.batch == 1
    assert "threads" in found.text()
    found = route(relu(["batch", 4]), devices=FAKES, policy="throughput")
    assert found.winner.batch == 16, "a sleep costs the same for any batch"
    assert "in batches of 16" in found.text()


def test_a_choice_for_one_goal_takes_part_there(site: Any) -> None:
    fake(site, 'Choice({"delay": 4})', 'Choice({"delay": 1}, goal="throughput")')
    found = route(relu([4]), devices=FAKES)
    assert found.winner.candidate.options == {"delay": 4}
    assert "takes part with --policy throughput" in row_of(found, "fake:cpu delay=1").reason
    found = route(relu([4]), devices=FAKES, policy="throughput")
    assert found.winner.candidate.options == {"delay": 1}


def test_policies_score_rows() -> None:
    candidate = hal.routing.Candidate(hal.Device("fake:cpu", "cpu"))
    row = Row(candidate, blocks=(1.0, 3.0, 2.0), p99=5.0, memory=100, throughput=4.0)
    scores = {goal: Policy.parse(goal).score(row) for goal in hal.routing.GOALS}
    assert scores == {"latency": 2.0, "p99": 5.0, "throughput": 0.25, "memory": 100.0}
    none = Row(candidate)
    assert all(math.isinf(Policy.parse(goal).score(none)) for goal in hal.routing.GOALS)
    policy = Policy.parse(" memory < 1KiB, p99<4s ,latency")
    assert str(policy) == "latency,memory<1KiB,p99<4s"
    assert policy.broken(row) == "over the limit p99<4s"
    assert Route.of(Route("m", (row,)).document()).rows == (row,)


def test_a_policy_of_a_plugin_decides(site: Any) -> None:
    fake(site, 'Choice({"delay": 4})', 'Choice({"delay": 30})')
    site.add("hal-own", OWN_POLICIES)
    found = route(relu([4]), devices=FAKES, policy="slowest,memory<2GiB")
    assert found.winner.candidate.options == {"delay": 30}
    assert found.policy == "slowest,memory<2GiB" and found.clear
    with pytest.raises(BrokenError, match=r"sick gives fake:cpu.* a score of 0"):
        route(relu([4]), devices=FAKES, policy="sick")
    with pytest.raises(UsageError, match=r"no policy 'slowes'.*slowest"):
        route(relu([4]), devices=FAKES, policy="slowes")


def never(*_: object, **__: object) -> None:
    raise AssertionError("asked again")


@pytest.mark.slow
def test_a_route_over_the_real_engines() -> None:
    found = route(relu([1024]), budget=3, cache=False)
    assert found.winner.candidate.device.id != "reference:cpu"
    assert found.winner.median <= row_of(found, "ort:cpu").median
    assert sum(row.tried for row in found.rows) <= 3


@pytest.mark.usefixtures("fakes_alone")
def test_load_routes_and_the_next_load_asks_nobody(
    site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = np.array([-1, 2, -3, 4], np.float32)
    fake(site, 'Choice({"delay": 1})')
    with hal.load(relu([4])) as session:
        assert session.route is not None and not session.route.cached
        assert session.run(None, {"x": x})[0].tolist() == [0, 2, 0, 4]
        assert session.device == session.route.winner.candidate.device.id
        assert "is best by latency" in session.explain()
    monkeypatch.setattr(Registry, "probe", never)
    monkeypatch.setattr("hal.routing._route.load_plugins", never)
    monkeypatch.setattr("hal.routing._load.load_plugins", never)
    with hal.load(relu([4])) as session:
        assert session.route is not None and session.route.cached
        assert session.run(None, {"x": x})[0].tolist() == [0, 2, 0, 4]
    with pytest.raises(UsageError, match="no device is named"):
        hal.load(relu([4]), options={"threads": 1})


def test_a_winner_that_does_not_open_gives_way(site: Any, caplog: pytest.LogCaptureFixture) -> None:
    fake(site, 'Choice({"delay": 1})', 'Choice({"delay": 3})')
    model = relu([4])
    route(model, devices=FAKES)
    with Store() as store:
        (row,) = store.rows("routes")
        found = Route.of(row.document["route"])
        gone = hal.routing.Candidate(hal.Device("gone:cpu", "cpu"))
        rows = (Row(gone, "won", blocks=(0.1,)), dataclasses.replace(found.winner, state="lost"))
        document = {**found.document(), "rows": [r.document() for r in rows]}
        router = Router(store, identify(model, store), Request())
        store.put("routes", router.key(), {"route": document})
    with caplog.at_level(logging.WARNING), hal.load(model) as session:
        assert session.device == "fake:cpu"
    assert "gone:cpu does not open" in caplog.text


def shape_labels(session: hal.Session, sizes: Mapping[int, str]) -> None:
    for n, label in sizes.items():
        engine: Any = session._engine
        given = {"x": np.full((n, 4), -1, np.float32)}
        assert session.run(None, given)[0].shape == (n, 4)
        assert engine.engine(given).candidate.label == label, n


@pytest.mark.usefixtures("fakes_alone")
def test_each_bucket_of_shapes_has_its_own_decision(site: Any) -> None:
    small, large = "fake:cpu delay=1 large=9", "fake:cpu delay=5 large=2"
    fake(
        site,
        'Choice({"delay": 1, "large": 9}, speed=9)',
        'Choice({"delay": 5, "large": 2}, speed=9)',
    )
    model = relu(["batch", 4])
    with hal.load(model) as session:
        shape_labels(session, {1: small, 32: small, 30: small})
    with Store() as store:
        pending = [r for r in store.rows("routes") if r.document.get("pending")]
        assert [r.document["sizes"] for r in pending] == [{"batch": 32}]
    with hal.load(model) as session:
        shape_labels(session, {1: small, 32: large, 30: large, 2: small})
        bound = session.bind({"x": np.ones((32, 4), np.float32)})
        assert np.from_dlpack(bound.run()[0]).sum() == 128
        with pytest.raises(UsageError, match="no value for input 'x'"):
            session.run(None, {})
