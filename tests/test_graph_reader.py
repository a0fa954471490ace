"""The reader against the onnx package's own, and the checks of a graph's structure."""

from __future__ import annotations

import subprocess
import sys

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.backend.test.case.node import collect_testcases

import hal
from hal.errors import ModelError
from hal.graph import Graph, Reference, SparseTensor, TypeInfo, read_model
from hal.types import ElementType


def read_graph(graph: onnx.GraphProto, **options) -> Graph:
    options.setdefault("opset_imports", [helper.make_opsetid("", 20)])
    return read_model(hal.Model(helper.make_model(graph, **options).SerializeToString())).graph


def test_reading_needs_no_onnx():
    code = (
        "import sys, hal.graph, hal.kernels; "
        "assert not {'onnx', 'google.protobuf', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_official_cases_read_as_onnx_reads_them():
    count = 0
    for case in collect_testcases():
        proto = case.model
        got = read_model(hal.Model(proto.SerializeToString()))
        assert got.ir_version == proto.ir_version
        assert got.opset_import == {o.domain: o.version for o in proto.opset_import}
        assert [v.name for v in got.graph.inputs] == [v.name for v in proto.graph.input]
        assert {n.outputs for n in got.graph.nodes} == {tuple(n.output) for n in proto.graph.node}
        for want in proto.graph.node:
            node = next(n for n in got.graph.nodes if n.outputs == tuple(want.output))
            assert (node.op_type, node.inputs) == (want.op_type, tuple(want.input))
            assert set(node.attributes) == {a.name for a in want.attribute}
            for attribute in want.attribute:
                same(node.attributes[attribute.name], helper.get_attribute_value(attribute))
        count += 1
    assert count > 1800


def same(got, want) -> None:
    if isinstance(got, hal.Tensor):
        array = numpy_helper.to_array(want)
        assert got.shape == array.shape
        np.testing.assert_array_equal(got.numpy(), array)
    elif isinstance(got, Graph):
        assert len(got.nodes) == len(want.node)
    elif isinstance(got, tuple):
        assert list(got) == [w.decode() if isinstance(w, bytes) else w for w in want]
    elif isinstance(got, (SparseTensor, TypeInfo)):
        pass
    else:
        assert got == (want.decode() if isinstance(want, bytes) else want)


TYPED = [t for t in ElementType if t is not ElementType.STRING]


@pytest.mark.parametrize("element_type", TYPED, ids=lambda t: t.onnx_name)
@pytest.mark.parametrize("raw", [True, False], ids=["raw", "typed"])
def test_tensor_data(element_type, raw):
    values = np.array([0, 1, 1, 0, 1, 1, 0]).astype(element_type.dtype())
    if raw:
        tensor = numpy_helper.from_array(values, "w")
    else:
        tensor = helper.make_tensor("w", int(element_type), values.shape, values.tolist())
        assert not tensor.HasField("raw_data")
    graph = helper.make_graph([], "g", [], [onnx.ValueInfoProto(name="w")], [tensor])
    got = read_graph(graph).initializers["w"]
    assert got.element_type is element_type
    assert got.numpy().dtype == values.dtype
    assert got.numpy().tobytes() == numpy_helper.to_array(tensor).tobytes()


def test_negative_and_extreme_numbers():
    tensors = [
        helper.make_tensor("i4", TensorProto.INT4, [3], [-8, 7, -1]),
        helper.make_tensor("i8", TensorProto.INT8, [3], [-128, 127, -1]),
        helper.make_tensor("i32", TensorProto.INT32, [3], [-(1 << 31), (1 << 31) - 1, -1]),
        helper.make_tensor("i64", TensorProto.INT64, [3], [-(1 << 63), (1 << 63) - 1, -1]),
        helper.make_tensor("u64", TensorProto.UINT64, [2], [(1 << 64) - 1, 300]),
        helper.make_tensor("c", TensorProto.COMPLEX64, [2], [1 + 2j, -3j]),
        helper.make_tensor("bf", TensorProto.BFLOAT16, [2], [-1.5, float("inf")]),
        helper.make_tensor("s", TensorProto.STRING, [2], ["", "grüß"]),
    ]
    got = read_graph(helper.make_graph([], "g", [], [], tensors)).initializers
    for tensor in tensors:
        want = numpy_helper.to_array(tensor)
        assert got[tensor.name].numpy().tolist() == want.tolist(), tensor.name
    assert got["bf"].numpy().dtype == ml_dtypes.bfloat16


def test_raw_data_is_not_copied():
    array = np.arange(1000, dtype=np.float32)
    graph = helper.make_graph([], "g", [], [], [numpy_helper.from_array(array, "w")])
    model = hal.Model(helper.make_model(graph).SerializeToString())
    assert read_model(model).graph.initializers["w"].data.obj is model.data


def test_types_and_shapes():
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.BFLOAT16, [1, "n", None]),
        helper.make_tensor_sequence_value_info("s", TensorProto.INT64, None),
        helper.make_value_info(
            "o",
            helper.make_optional_type_proto(
                helper.make_sequence_type_proto(helper.make_tensor_type_proto(1, None))
            ),
        ),
        helper.make_value_info(
            "m",
            helper.make_map_type_proto(TensorProto.STRING, helper.make_tensor_type_proto(1, [])),
        ),
    ]
    got = read_graph(helper.make_graph([], "g", inputs, [])).inputs
    assert [(v.type, v.shape) for v in got] == [
        ("tensor(bfloat16)", (1, "n", None)),
        ("seq(tensor(int64))", None),
        ("optional(seq(tensor(float)))", None),
        ("map(string,tensor(float))", None),
    ]


def test_functions_and_references():
    node = helper.make_node("LeakyRelu", ["p"], ["q"])
    node.attribute.append(onnx.AttributeProto(name="alpha", ref_attr_name="slope", type=1))
    function = helper.make_function(
        "local", "F", ["p"], ["q"], [node], [helper.make_opsetid("", 16)], ["slope"]
    )
    graph = helper.make_graph([], "g", [], [])
    model = helper.make_model(graph, functions=[function])
    got = read_model(hal.Model(model.SerializeToString())).functions["local", "F", ""]
    assert got.nodes[0].attributes == {"alpha": Reference("slope")}
    assert (got.attributes, got.opset_import) == (("slope",), {"": 16})


def nodes_graph(*nodes: onnx.NodeProto, outputs=("y",)) -> onnx.GraphProto:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    found = [helper.make_tensor_value_info(o, TensorProto.FLOAT, [1]) for o in outputs]
    return helper.make_graph(list(nodes), "main", [x], found)


def test_nodes_come_in_topological_order():
    node = helper.make_node
    graph = nodes_graph(node("Abs", ["b"], ["y"]), node("Neg", ["a"], ["b"]), node("Exp", "x", "a"))
    assert [n.op_type for n in read_graph(graph).nodes] == ["Exp", "Neg", "Abs"]


def test_a_captured_name_orders_its_node():
    branch = helper.make_graph(
        [helper.make_node("Abs", ["late"], ["b"])], "b", [], [onnx.ValueInfoProto(name="b")]
    )
    graph = nodes_graph(
        helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch),
        helper.make_node("Neg", ["x"], ["late"]),
    )
    assert [n.op_type for n in read_graph(graph).nodes] == ["Neg", "If"]


@pytest.mark.parametrize(
    ("nodes", "reason"),
    [
        ([("Abs", ["nope"], ["y"])], r"'n0' \(Abs\) reads 'nope', which nothing gives"),
        ([("Abs", ["x"], ["y"]), ("Neg", ["x"], ["y"])], "'y', which is given already"),
        ([("Abs", ["x"], ["x"])], "'x', which is given already"),
        ([("Add", ["x", "b"], ["y"]), ("Neg", ["y"], ["b"])], "cycle"),
        ([("Abs", ["x"], ["z"])], "the output of graph 'main' reads 'y'"),
    ],
    ids=["dangling", "twice", "input-twice", "cycle", "no-output"],
)
def test_broken_graphs(nodes, reason):
    made = [
        helper.make_node(op, list(i), list(o), name=f"n{k}") for k, (op, i, o) in enumerate(nodes)
    ]
    with pytest.raises(ModelError, match=reason):
        read_graph(nodes_graph(*made))
