from __future__ import annotations

import onnx
import pytest
from hal_conformance.model_facts import model_facts, name_nodes, type_string
from onnx import TensorProto, helper

FLOAT, BOOL = TensorProto.FLOAT, TensorProto.BOOL


def value(name, element=FLOAT):
    return helper.make_tensor_value_info(name, element, [2])


def model(nodes, inputs, outputs, opset=13, **more):
    graph = helper.make_graph(nodes, "g", inputs, outputs)
    imports = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8, **more)


def branch(name, node_name=""):
    nodes = [helper.make_node("Neg", ["x"], ["y"], name=node_name)]
    return helper.make_graph(nodes, name, [], [value("y")])


def conditional():
    node = helper.make_node(
        "If", ["c"], ["z"], then_branch=branch("t", "Neg_0"), else_branch=branch("e")
    )
    return model([node], [value("c", BOOL), value("x")], [value("z")])


def test_every_node_gets_a_name_of_its_own():
    nodes = [
        helper.make_node("Abs", ["x"], ["a"], name="same"),
        helper.make_node("Abs", ["a"], ["b"], name="same"),
        helper.make_node("Abs", ["b"], ["c"], name="Abs_1"),
        helper.make_node("Abs", ["c"], ["y"]),
    ]
    named = model(nodes, [value("x")], [value("y")])
    name_nodes(named)
    assert [n.name for n in named.graph.node] == ["same", "Abs_0", "Abs_1", "Abs_2"]


def test_nodes_of_subgraphs_are_named_and_counted():
    named = conditional()
    name_nodes(named)
    facts = model_facts(named)
    assert facts.nodes == ("If_0", "Neg_1", "Neg_0")  # attributes are sorted by name
    assert facts.operators == ("If", "Neg")
    assert facts.single_operator == "If"
    assert "Neg-13/T/tensor(float)" in facts.cells  # x comes from the outer graph


def test_nodes_of_local_functions_are_named_and_counted():
    function = helper.make_function(
        "local", "twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])],
        [helper.make_opsetid("", 13)],
    )  # fmt: skip
    node = helper.make_node("twice", ["x"], ["y"], domain="local")
    named = model([node], [value("x")], [value("y")], functions=[function])
    name_nodes(named)
    facts = model_facts(named)
    assert facts.nodes == ("twice_0", "Add_0")
    assert facts.operators == ("Add",)
    assert facts.single_operator == ""


def test_types_between_nodes_are_inferred():
    nodes = [
        helper.make_node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16),
        helper.make_node("Abs", ["h"], ["y"]),
    ]
    facts = model_facts(model(nodes, [value("x")], [value("y", TensorProto.FLOAT16)]))
    assert "Abs-13/T/tensor(float16)" in facts.cells
    assert "Abs-13/T/tensor(float)" not in facts.cells
    assert facts.single_operator == ""


def test_cells_are_those_of_the_latest_version_only():
    node = helper.make_node("Abs", ["x"], ["y"])
    assert model_facts(model([node], [value("x")], [value("y")], opset=12)).cells == ()
    assert model_facts(model([node], [value("x")], [value("y")], opset=13)).cells == (
        "Abs-13/T/tensor(float)",
    )


def test_initializers_have_types():
    node = helper.make_node("Add", ["x", "w"], ["y"])
    model_ = model([node], [value("x")], [value("y")], opset=14)
    model_.graph.initializer.append(helper.make_tensor("w", FLOAT, [2], [1, 2]))
    assert model_facts(model_).cells == ("Add-14/T/tensor(float)",)


TENSOR = helper.make_tensor_type_proto(TensorProto.INT4, None)
SEQUENCE = helper.make_sequence_type_proto(TENSOR)


@pytest.mark.parametrize(
    ("proto", "text"),
    [
        (TENSOR, "tensor(int4)"),
        (SEQUENCE, "seq(tensor(int4))"),
        (helper.make_optional_type_proto(SEQUENCE), "optional(seq(tensor(int4)))"),
        (helper.make_map_type_proto(TensorProto.STRING, TENSOR), "map(string, tensor(int4))"),
        (helper.make_sparse_tensor_type_proto(FLOAT, None), "sparse_tensor(float)"),
        (onnx.TypeProto(), ""),
        (helper.make_sequence_type_proto(onnx.TypeProto()), ""),
    ],
)
def test_type_strings(proto, text):
    assert type_string(proto) == text
