"""Where the nodes went, by onnxruntime's own record."""

from __future__ import annotations

import onnx
import pytest
from hal_onnxruntime._placement import placed
from onnx import TensorProto, helper
from onnxruntime import InferenceSession

from hal import Evidence

FLOAT4 = (TensorProto.FLOAT, [4])
CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
DEVICES = {CPU: "ort:cpu", CUDA: "ort:cuda"}

needs_record = pytest.mark.skipif(
    not hasattr(InferenceSession, "get_provider_graph_assignment_info"),
    reason="this onnxruntime (before 1.24) keeps no record of its assignment",
)


def node(operator, inputs, outputs, name, **attributes):
    return helper.make_node(operator, inputs, outputs, name=name, **attributes)


def where(ort, cpu, model):
    placement = ort.compile(cpu, model, {}).placement()
    return {n.node: n.device for n in placement.nodes}, placement.evidence


@needs_record
def test_every_node_is_assigned(ort, cpu, build):
    model = build(
        [node("Add", ["x", "x"], ["a"], "n1"), node("Relu", ["a"], ["y"], "n2")],
        {"x": FLOAT4},
        {"y": FLOAT4},
    )
    assert where(ort, cpu, model) == ({"n1": "ort:cpu", "n2": "ort:cpu"}, Evidence.ASSIGNED)


@needs_record
def test_constants_are_folded(ort, cpu, build):
    constant = helper.make_tensor("k", TensorProto.FLOAT, [4], [1.0] * 4)
    model = build(
        [
            node("Constant", [], ["c"], "n0", value=constant),
            node("Exp", ["c"], ["e"], "n1"),
            node("Add", ["x", "e"], ["y"], "n2"),
        ],
        {"x": FLOAT4},
        {"y": FLOAT4},
    )
    assert where(ort, cpu, model)[0] == {"n0": "", "n1": "", "n2": "ort:cpu"}


def test_a_model_that_is_folded_whole_has_a_sole_place(ort, cpu, build):
    model = build(
        [node("Shape", ["x"], ["y"], "n1")], {"x": FLOAT4}, {"y": (TensorProto.INT64, [1])}
    )
    assert where(ort, cpu, model) == ({"n1": ""}, Evidence.SOLE)


@needs_record
def test_subgraphs_have_places(ort, cpu, build):
    branches = {
        f"{name}_branch": helper.make_graph(
            [node(operator, ["x", "x"], [name], name)],
            name,
            [],
            [helper.make_tensor_value_info(name, *FLOAT4)],
        )
        for name, operator in (("then", "Add"), ("else", "Mul"))
    }
    model = build(
        [node("If", ["c"], ["y"], "if", **branches)],
        {"c": (TensorProto.BOOL, []), "x": FLOAT4},
        {"y": FLOAT4},
    )
    places, _ = where(ort, cpu, model)
    assert places == {"if": "ort:cpu", "then": "ort:cpu", "else": "ort:cpu"}


@needs_record
def test_inlined_functions_have_the_places_of_their_bodies(ort, cpu, build):
    function = helper.make_function(
        "local",
        "Twice",
        ["a"],
        ["b"],
        [node("Add", ["a", "a"], ["t"], "inner1"), node("Exp", ["t"], ["b"], "inner2")],
        [helper.make_opsetid("", 21)],
    )
    model = build(
        [
            node("Twice", ["x"], ["a"], "call1", domain="local"),
            node("Twice", ["a"], ["y"], "call2", domain="local"),
        ],
        {"x": FLOAT4},
        {"y": FLOAT4},
        functions=[function],
    )
    places, evidence = where(ort, cpu, model)
    assert set(places) == {"call1", "call2", "inner1", "inner2"}
    assert set(places.values()) == {"ort:cpu"}
    assert evidence is Evidence.ASSIGNED


@needs_record
def test_an_operator_that_is_inlined_has_the_place_of_its_body(ort, cpu, build):
    square = (TensorProto.FLOAT, [1, 2, 4, 4])
    model = build(
        [node("GroupNormalization", ["x", "s", "s"], ["y"], "gn", num_groups=1)],
        {"x": square, "s": (TensorProto.FLOAT, [2])},
        {"y": square},
    )
    assert where(ort, cpu, model) == ({"gn": "ort:cpu"}, Evidence.ASSIGNED)


@pytest.fixture
def two(build):
    constant = helper.make_tensor("k", TensorProto.FLOAT, [4], [1.0] * 4)
    return build(
        [
            node("Constant", [], ["c"], "c", value=constant),
            node("Add", ["x", "c"], ["a"], "n1"),
            node("Foo", ["a"], ["y"], "n2", domain="local"),
        ],
        {"x": FLOAT4},
        {"y": FLOAT4},
    )


@pytest.mark.parametrize(
    ("records", "devices", "fallback"),
    [
        ([("n1", "Add", CUDA), ("n2", "Foo", CUDA)], ["", "ort:cuda", "ort:cuda"], False),
        ([("n1", "Add", CUDA), ("n2", "Foo", CPU)], ["", "ort:cuda", "ort:cpu"], True),
        ([("n1", "Add", CUDA), ("", "Mul", CPU)], ["", "ort:cuda", "ort:cpu"], True),
        ([("n1", "Add", CUDA), ("", "A", CUDA), ("", "B", CPU)], ["", "ort:cuda", "ort:cpu"], True),
        ([("n1", "Add", CUDA), ("_inlfunc_Foo_i", "A", CPU)], ["", "ort:cuda", "ort:cpu"], True),
        ([("n1", "Add", CUDA), ("n2", "Foo", "Other")], ["", "ort:cuda", "Other"], True),
        ([("n1/fused", "Add", CUDA)], ["", "ort:cuda", ""], False),
        ([], ["", "", ""], True),
    ],
    ids=[
        "all-here",
        "one-elsewhere",
        "body-elsewhere",
        "body-split",
        "function-elsewhere",
        "unknown-provider",
        "fused",
        "none-left",
    ],
)
def test_work_on_another_provider_is_a_fallback(two, records, devices, fallback):
    placement = placed(two, records, "ort:cuda", DEVICES)
    assert [n.device for n in placement.nodes] == devices
    assert placement.fell_back("ort:cuda", accelerator=True) is fallback


def test_a_node_that_the_runtime_adds_elsewhere_is_a_fallback(two):
    records = [("n1", "Add", CUDA), ("n2", "Foo", CUDA), ("copy", "MemcpyToHost", CPU)]
    placement = placed(two, records, "ort:cuda", DEVICES)
    assert placement.fell_back("ort:cuda", accelerator=True)
    assert placement.nodes[-1].node == "copy (added by onnxruntime)"


def test_model_of_the_fixtures_is_valid(relu):
    onnx.checker.check_model(onnx.load_from_string(relu.data))
