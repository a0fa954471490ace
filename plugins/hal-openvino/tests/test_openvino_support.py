"""What OpenVINO refuses, and where it puts what it takes."""

from __future__ import annotations

import pytest
from onnx import TensorProto, helper

from hal import Evidence, Model
from hal.errors import ExecutionError, ModelError, UnsupportedError

FLOAT4 = (TensorProto.FLOAT, [4])


def node(operator, inputs, outputs, name, **attributes):
    return helper.make_node(operator, inputs, outputs, name=name, **attributes)


def test_all_unknown_operators_are_named_at_once(openvino, cpu, build):
    model = build(
        [
            node("Foo", ["x"], ["a"], "n1"),
            node("Relu", ["a"], ["b"], "n2"),
            node("Scaler", ["b"], ["c"], "n3", domain="ai.onnx.ml", scale=[1.0], offset=[0.0]),
            node("Foo", ["c"], ["y"], "n4"),
        ],
        {"x": FLOAT4},
        {"y": FLOAT4},
    )
    with pytest.raises(UnsupportedError) as caught:
        openvino.compile(cpu, model, {})
    assert caught.value.nodes == ("n1", "n3", "n4")
    assert "src/" not in str(caught.value)
    found = openvino.supports(cpu, model).unsupported
    assert [n.node for n in found] == ["n1", "n3", "n4"]
    assert [n.operator for n in found] == ["Foo-21", "ai.onnx.ml::Scaler-3", "Foo-21"]


def test_type_that_it_has_not_is_unsupported(openvino, cpu, build):
    kind = (TensorProto.COMPLEX64, [4])
    model = build([node("Identity", ["x"], ["y"], "n")], {"x": kind}, {"y": kind})
    with pytest.raises(UnsupportedError, match="COMPLEX64"):
        openvino.compile(cpu, model, {})
    assert [n.node for n in openvino.supports(cpu, model).unsupported] == ["n"]


def test_what_it_says_of_one_node_names_it(openvino, cpu, build):
    model = build(
        [
            node("Neg", ["x"], ["a"], "neg"),
            node("Pad", ["a", "p"], ["y"], "pad", mode="wrap"),
        ],
        {"x": FLOAT4},
        {"y": (TensorProto.FLOAT, [6])},
        initializer=[helper.make_tensor("p", TensorProto.INT64, [2], [1, 1])],
    )
    with pytest.raises(UnsupportedError, match="padding mode") as caught:
        openvino.compile(cpu, model, {})
    assert caught.value.nodes == ("pad",)


def test_what_it_takes_is_supported(openvino, cpu, relu):
    assert openvino.supports(cpu, relu).supported


@pytest.mark.parametrize("data", [b"garbage", b"\x08"], ids=["garbage", "cut"])
def test_garbage_is_no_model(openvino, cpu, data):
    with pytest.raises(ModelError):
        openvino.compile(cpu, Model(data), {})


def test_a_node_that_does_not_convert_is_an_error_in_its_own_words(openvino, cpu, build):
    model = build(
        [node("Mod", ["x", "x"], ["y"], "mod", fmod=0)], {"x": FLOAT4}, {"y": FLOAT4}, opset=13
    )
    with pytest.raises(ExecutionError, match="fmod"):
        openvino.compile(cpu, model, {})


def where(openvino, cpu, model):
    placement = openvino.compile(cpu, model, {}).placement()
    assert placement.evidence is Evidence.ASSIGNED
    return {n.node: n.device for n in placement.nodes}


def test_fused_nodes_are_on_the_device_and_constants_are_folded(openvino, cpu, build):
    constant = helper.make_tensor("k", TensorProto.FLOAT, [4], [1.0] * 4)
    model = build(
        [
            node("Constant", [], ["c"], "n0", value=constant),
            node("Exp", ["c"], ["e"], "n1"),
            node("Add", ["x", "e"], ["a"], "n2"),
            node("Relu", ["a"], ["y"], "n3"),
        ],
        {"x": FLOAT4},
        {"y": FLOAT4},
    )
    here = "openvino:cpu"
    assert where(openvino, cpu, model) == {"n0": "", "n1": "", "n2": here, "n3": here}


def test_a_node_of_many_layers_is_on_the_device(openvino, cpu, build):
    square = (TensorProto.FLOAT, [1, 2, 4, 4])
    model = build(
        [node("GroupNormalization", ["x", "s", "s"], ["y"], "gn", num_groups=1)],
        {"x": square, "s": (TensorProto.FLOAT, [2])},
        {"y": square},
    )
    assert where(openvino, cpu, model) == {"gn": "openvino:cpu"}


def test_a_model_that_is_folded_whole_is_nowhere(openvino, cpu, build):
    constant = helper.make_tensor("k", TensorProto.FLOAT, [4], [1.0] * 4)
    model = build(
        [
            node("Constant", [], ["c"], "n0", value=constant),
            node("Add", ["c", "c"], ["y"], "n1"),
        ],
        {},
        {"y": FLOAT4},
    )
    assert where(openvino, cpu, model) == {"n0": "", "n1": ""}


def test_subgraphs_share_the_place_of_their_node(openvino, cpu, build):
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
    assert set(where(openvino, cpu, model).items()) == {
        ("if", "openvino:cpu"),
        ("then", "openvino:cpu"),
        ("else", "openvino:cpu"),
    }
