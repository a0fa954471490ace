"""A model that no device takes whole: refused with what is missing, or run in parts."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from split_models import DEVICES, FEEDS, LAME, F, W, only, proto, two_devices

import hal
from hal.errors import UnsupportedError, UsageError
from hal.graph import read_model, read_signature
from hal.plugins import Registry, load_plugins
from hal.routing import Candidate
from hal.routing._engine import local_backend
from hal.split import SplitEngine, plan
from hal.split._capability import capability
from hal.split._engine import open_places
from hal.split._plan import Place
from hal.split._source import Source


@pytest.fixture
def registry(site: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    only(site, monkeypatch, "lame", LAME)
    with load_plugins() as found:
        yield found


def places_of(registry: Registry, source: Source) -> list[Place]:
    found = []
    for name in DEVICES:
        backend = local_backend(registry, name.partition(":")[0])
        (device,) = backend.devices()
        capable = capability(source, functools.partial(backend.supports, device))
        found.append(Place(Candidate(device), 1.0, capable))
    return found


def opened(registry: Registry, model: onnx.ModelProto) -> SplitEngine:
    data = hal.Model(model.SerializeToString())
    source = Source(data)
    return open_places(registry, source, places_of(registry, source), read_signature(data))


UNARY = ("Abs", "Neg", "Relu", "Tanh", "Sign", "Floor")
BINARY = ("Add", "Sub", "Mul")


@st.composite
def models(draw: st.DrawFn) -> onnx.ModelProto:
    """Random graphs with an If that captures, a function, weights that are shared, names that are
    absent or given twice."""
    values, nodes = ["x", "y", "w"], []
    for index in range(draw(st.integers(1, 14))):
        kind = draw(st.sampled_from((*UNARY, *BINARY, "If", "F")))
        pick = st.sampled_from(values[-6:])
        out, name = f"v{index}", draw(st.sampled_from(["", "same", f"n{index}"]))
        if kind == "If":
            read = draw(pick)
            branches = [
                helper.make_graph(
                    [helper.make_node(op, [read], ["b"])], "b", [], [onnx.ValueInfoProto(name="b")]
                )
                for op in (draw(st.sampled_from(UNARY)), "Abs")
            ]
            attributes = {"then_branch": branches[0], "else_branch": branches[1]}
            nodes.append(helper.make_node("If", ["yes"], [out], name, **attributes))
        elif kind == "F":
            nodes.append(helper.make_node("F", [draw(pick)], [out], name, domain="local"))
        else:
            count = 2 if kind in BINARY else 1
            nodes.append(helper.make_node(kind, [draw(pick) for _ in range(count)], [out], name))
        values.append(out)
    wanted = draw(st.lists(st.sampled_from(values[3:] or values), min_size=1, max_size=3))
    body = [helper.make_node("Tanh", ["p"], ["t"]), helper.make_node("Abs", ["t"], ["q"])]
    function = helper.make_function("local", "F", ["p"], ["q"], body, [helper.make_opsetid("", 18)])
    made = proto(
        nodes,
        list(dict.fromkeys(wanted)),
        initializers=[W, numpy_helper.from_array(np.array(True), "yes")],
        values=[v for v in values[3:] if v not in wanted],
        functions=[function],
    )
    made.opset_import.append(helper.make_opsetid("local", 1))
    return made


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(models())
def test_split_results_are_those_of_the_whole(registry, model):
    expected = ReferenceEvaluator(model).run(None, FEEDS)
    engine = opened(registry, model)
    for got, wanted in zip(engine.run(None, FEEDS), expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-6)
    plan = engine.plan
    place = {n: at for at, part in enumerate(plan.parts) for n in part.indices}
    assert all(part.nodes for part in plan.parts)
    assert all(place[g] <= place[n] for n, gs in enumerate(plan.source.before) for g in gs)
    devices = [part.candidate.device.id for part in plan.parts]
    assert all(a != b for a, b in itertools.pairwise(devices))
    ran = {n.node: n.device for n in engine.placement().nodes if n.device}
    for part in plan.parts:
        for name in part.nodes:
            assert ran.get(name, part.candidate.device.id) == part.candidate.device.id
    engine.close()


def test_values_are_handed_over_without_a_copy(registry):
    nodes = [helper.make_node("Mul", ["x", "w"], ["a"]), helper.make_node("Tanh", ["a"], ["b"])]
    engine = opened(registry, proto(nodes, ["b"], initializers=[W], values=["a"]))
    first, second = (part.engine for part in engine._opened)
    seen: list[Any] = []
    run_first, run_second = first.values, second.values

    def gives(inputs: Any) -> Any:
        found = run_first(inputs)
        seen.append(found["a"].numpy().ctypes.data)
        return found

    def takes(inputs: Any) -> Any:
        seen.append(inputs["a"].numpy().ctypes.data)
        return run_second(inputs)

    first.values, second.values = gives, takes  # type: ignore[method-assign]
    engine.run(None, FEEDS)
    assert len(seen) == 2 and seen[0] == seen[1]
    engine.close()


def test_refused_by_default_and_split_on_request(registry):
    model = two_devices()
    with pytest.raises(UnsupportedError, match="takes this model whole") as caught:
        hal.routing.route(model, devices=DEVICES)
    message = str(caught.value)
    assert "example:cpu lacks 'squash' (Tanh-13: no kernel" in message
    assert "lame:npu lacks 'scale' (Mul-14: no kernel" in message
    assert "1 node on example:cpu, then 1 node on lame:npu, then 1 node on example:cpu" in message
    assert set(caught.value.nodes) == {"scale", "squash", "shift"}
    found = plan(model, devices=DEVICES)
    assert [(p.candidate.device.id, p.nodes) for p in found.parts] == [
        ("example:cpu", ("scale",)),
        ("lame:npu", ("squash",)),
        ("example:cpu", ("shift",)),
    ]
    assert list(found.missing["example:cpu"]) == ["squash"]


def test_a_session_of_what_only_the_accelerator_has(registry):
    values = [helper.make_tensor_value_info(n, F, [2]) for n in ("a", "b")]
    model = proto(
        [
            helper.make_node("Neg", ["x"], ["a"], "flip"),
            helper.make_node("Halve", ["a"], ["b"], "halve", domain="made.up"),
            helper.make_node("Relu", ["b"], ["c"], "cut"),
        ],
        ["c", "y", "c"],
    )
    model.graph.value_info.extend(values)
    with pytest.raises(UnsupportedError, match=r"lacks 'halve'.*Split, it would run as"):
        hal.load(model)
    with hal.load(model, split=True) as session:
        first, second, third = session.run(None, FEEDS)
        np.testing.assert_array_equal(first, np.maximum(-FEEDS["x"] / 2, 0))
        np.testing.assert_array_equal(second, FEEDS["y"])
        np.testing.assert_array_equal(third, first)
        assert session.run(["y"], FEEDS)[0] is not FEEDS["y"]
        (line,) = session.explain().splitlines()
        assert session.split is not None and session.split.line == line and session.route is None
        assert line.startswith("split into 3 parts") and "lame:npu (1 node)" in line
        placed = {n.node: n.device for n in session.placement.nodes}
        assert placed["halve"] == "lame:npu" and placed["flip"] == placed["cut"] != "lame:npu"
        with pytest.raises(UsageError, match="no value for input 'y'"):
            session.run(None, {"x": FEEDS["x"]})


@pytest.mark.parametrize("more", [{"device": "example:cpu"}, {"isolate": True}])
def test_what_splitting_does_not_go_with(more):
    with pytest.raises(UsageError, match="split is for device='auto'"):
        hal.load(two_devices(), split=True, **more)


def test_a_node_that_runs_nowhere_is_named(registry):
    model = proto([helper.make_node("Cosh", ["x"], ["c"], "hyper")], ["c"])
    with pytest.raises(UnsupportedError, match="no ready device takes 'hyper'") as caught:
        plan(model, devices=DEVICES)
    assert caught.value.nodes == ("hyper",)


def test_a_part_is_a_model_of_its_own():
    """Initializers that are shared, defaults that may be fed, subgraphs, sparse weights, functions
    that call functions, and no more operator sets than it uses."""
    values = helper.make_tensor("s", F, [1], [2.0])
    sparse = helper.make_sparse_tensor(values, helper.make_tensor("i", 7, [1], [1]), [2])
    inner = helper.make_function(
        "local", "G", ["p"], ["q"], [helper.make_node("Abs", ["p"], ["q"])],
        [helper.make_opsetid("", 18)],
    )  # fmt: skip
    outer = helper.make_function(
        "local", "F", ["p"], ["q"], [helper.make_node("G", ["p"], ["q"], domain="local")],
        [helper.make_opsetid("local", 1)],
    )  # fmt: skip
    branch = helper.make_graph(
        [helper.make_node("Mul", ["a", "w"], ["m"])], "b", [], [onnx.ValueInfoProto(name="m")]
    )
    model = proto(
        [
            helper.make_node("F", ["x"], ["a"], domain="local"),
            helper.make_node("If", ["yes"], ["b"], then_branch=branch, else_branch=branch),
            helper.make_node("Add", ["b", "s"], ["c"]),
            helper.make_node("Add", ["c", "w"], ["d"]),
            helper.make_node("Neg", ["x"], ["unused"]),
        ],
        ["d"],
        initializers=[W, numpy_helper.from_array(np.array(True), "yes")],
        functions=[inner, outer],
    )
    model.opset_import.append(helper.make_opsetid("local", 1))
    model.graph.sparse_initializer.append(sparse)
    model.graph.input.append(helper.make_tensor_value_info("w", F, [2]))
    source = Source(hal.Model(model.SerializeToString()))
    assert [n.name for n in source.nodes] == ["F_0", "If_0", "Add_0", "Add_1"]
    assert source.dead == ("Neg_0",)
    first, second, third = (read_model(source.part([i])) for i in range(3))
    assert {key[1] for key in first.functions} == {"F", "G"} and not second.functions
    assert set(first.opset_import) == {"", "local"} and set(second.opset_import) == {""}
    assert [i.name for i in first.graph.inputs] == ["x"]
    assert [(i.name, i.shape) for i in second.graph.inputs] == [("a", (2,)), ("w", (2,))]
    assert set(second.graph.initializers) == {"yes", "w"}
    assert set(third.graph.sparse_initializers) == {"s"}
    assert [o.name for o in third.graph.outputs] == ["c"]
    for index in range(4):
        onnx.checker.check_model(onnx.load_from_string(source.part([index]).data))
