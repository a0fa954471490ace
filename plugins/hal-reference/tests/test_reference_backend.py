"""The seam of the reference backend: devices, support, placement, types and its refusals."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import hal_reference
import numpy as np
import onnx
import pytest
from hal_reference._backend import ReferenceBackend, ReferenceExecutable
from hal_reference._values import to_value
from onnx import TensorProto, helper, numpy_helper

from hal import (
    Ability,
    ElementType,
    Evidence,
    MapValue,
    Model,
    OptionalValue,
    SequenceValue,
    Tensor,
)
from hal.errors import ExecutionError, ModelError, SkewError, UnsupportedError, UsageError
from hal.host import Host

FLOAT = TensorProto.FLOAT
NEWEST: dict[str, Any] = {"opset": onnx.defs.onnx_opset_version(), "ir": onnx.IR_VERSION}


def tensor_info(name: str, number: int = FLOAT, shape: Any = None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, number, shape)


def model_of(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    *,
    opset: int = 21,
    ir: int = 10,
    opsets: dict[str, int] | None = None,
    **more: Any,
) -> onnx.ModelProto:
    initializers = more.pop("initializers", [])
    imports = {"": opset} if opsets is None else opsets
    return helper.make_model(
        helper.make_graph(nodes, "g", inputs, outputs, initializers),
        opset_imports=[helper.make_opsetid(d, v) for d, v in imports.items()],
        ir_version=ir,
        **more,
    )


def hal_model(proto: onnx.ModelProto, folder: Path | None = None) -> Model:
    return Model(proto.SerializeToString(), folder)


def compiled(proto: onnx.ModelProto, folder: Path | None = None) -> ReferenceExecutable:
    backend = ReferenceBackend()
    return backend.compile(backend.devices()[0], hal_model(proto, folder), {})


def relu(name: str = "relu") -> onnx.ModelProto:
    node = helper.make_node("Relu", ["x"], ["y"], name=name)
    return model_of([node], [tensor_info("x")], [tensor_info("y")])


def test_plugin_module_loads_no_onnx() -> None:
    code = "import sys, hal_reference; hal_reference.hal_backends(); print('onnx' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.split() == ["False"], result.stderr


def test_spec_names_the_backend_and_what_it_declares() -> None:
    (spec,) = hal_reference.hal_backends()
    assert spec.name == "reference"
    assert spec.requires == ("onnx",)
    assert spec.abilities == {Ability.PLACEMENT, Ability.CLOSE}
    assert isinstance(spec.factory(), ReferenceBackend)
    (again,) = hal_reference.hal_backends()
    assert again == spec, "importing the backend changed the spec"


def test_one_device_with_its_versions() -> None:
    (device,) = ReferenceBackend().devices()
    assert (device.id, device.kind, device.emulated) == ("reference:cpu", "cpu", False)
    assert device.versions == {"onnx": onnx.__version__, "numpy": np.__version__}


@pytest.mark.parametrize("element_type", list(ElementType), ids=lambda e: e.name.lower())
def test_identity_keeps_every_element_type(element_type: ElementType) -> None:
    if element_type is ElementType.STRING:
        array = np.array(["", "ü", "abc"], dtype=object)
    else:
        patterns = np.arange(256, dtype=np.uint16) % (1 << min(element_type.bits or 8, 8))
        array = patterns.astype(element_type.storage)
    tensor = Tensor.from_numpy(array, element_type)
    node = helper.make_node("Identity", ["x"], ["y"], name="id")
    info = [tensor_info(n, int(element_type)) for n in "xy"]
    executable = compiled(model_of([node], info[:1], info[1:], **NEWEST))
    got = executable.run({"x": tensor})["y"]
    assert isinstance(got, Tensor)
    assert (got.element_type, got.shape) == (element_type, tensor.shape)
    assert bytes(got.data) == bytes(tensor.data)


def test_placement_is_sole_for_subgraphs_and_local_functions_too() -> None:
    inner = helper.make_graph(
        [helper.make_node("Neg", ["x"], ["t"], name="inner")], "b", [], [tensor_info("t")]
    )
    function = helper.make_function(
        "local",
        "Twice",
        ["a"],
        ["b"],
        [helper.make_node("Add", ["a", "a"], ["b"], name="inside")],
        [helper.make_opsetid("", 21)],
    )
    nodes = [
        helper.make_node("If", ["c"], ["z"], name="if", then_branch=inner, else_branch=inner),
        helper.make_node("Twice", ["z"], ["y"], domain="local", name="call"),
    ]
    executable = compiled(
        model_of(
            nodes,
            [tensor_info("x"), tensor_info("c", TensorProto.BOOL, [])],
            [tensor_info("y")],
            opsets={"": 21, "local": 1},
            functions=[function],
        )
    )
    feeds = {
        "x": Tensor.from_numpy(np.float32([1, 2])),
        "c": Tensor.from_numpy(np.array(True)),
    }
    got = executable.run(feeds)["y"]
    assert isinstance(got, Tensor)
    assert got.numpy().tolist() == [-2, -4]
    placement = executable.placement()
    assert [n.node for n in placement.nodes] == ["if", "inner", "inner", "call", "inside"]
    assert {n.device for n in placement.nodes} == {"reference:cpu"}
    assert placement.evidence is Evidence.SOLE


def test_every_unsupported_node_is_named_at_once() -> None:
    branch = helper.make_graph(
        [helper.make_node("Nope", ["x"], ["t"], name="inner")], "b", [], [tensor_info("t")]
    )
    nodes = [
        helper.make_node("Abs", ["x"], ["a"], name="fine"),
        helper.make_node("Scatter", ["a", "i", "a"], ["s"], name="old"),
        helper.make_node("If", ["c"], ["z"], name="if", then_branch=branch, else_branch=branch),
        helper.make_node("Gelu", ["x"], ["g"], domain="com.microsoft", name="foreign"),
        helper.make_node("Scaler", ["x"], ["m"], domain="ai.onnx.ml", name="unimported"),
        helper.make_node("ZipMap", ["x"], ["q"], domain="ai.onnx.preview", name="unknown"),
    ]
    proto = model_of(
        nodes,
        [tensor_info("x"), tensor_info("i", TensorProto.INT64), tensor_info("c", TensorProto.BOOL)],
        [tensor_info("z")],
        opsets={"": 9, "com.microsoft": 1, "ai.onnx.preview": 1},
    )
    backend = ReferenceBackend()
    support = backend.supports(backend.devices()[0], hal_model(proto))
    assert [(n.node, n.operator) for n in support.unsupported] == [
        ("old", "Scatter-9"),
        ("inner", "Nope"),
        ("inner", "Nope"),
        ("foreign", "com.microsoft::Gelu"),
        ("unimported", "ai.onnx.ml::Scaler"),
        ("unknown", "ai.onnx.preview::ZipMap"),
    ]
    with pytest.raises(UnsupportedError, match=r"no domain 'com\.microsoft'") as caught:
        backend.compile(backend.devices()[0], hal_model(proto), {})
    assert caught.value.nodes == tuple(n.node for n in support.unsupported)


def test_a_kernel_that_lacks_a_part_is_unsupported() -> None:
    node = helper.make_node("MaxUnpool", ["x", "i"], ["y"], name="n", kernel_shape=[1] * 4)
    infos = [tensor_info("x"), tensor_info("i", TensorProto.INT64)]
    executable = compiled(model_of([node], infos, [tensor_info("y")], opset=11))
    x = np.ones((1, 1, 1, 1, 1, 1), dtype=np.float32)
    with pytest.raises(UnsupportedError, match="pooling size 4"):
        executable.run({"x": Tensor.from_numpy(x), "i": Tensor.from_numpy(x.astype(np.int64))})


@pytest.mark.parametrize("skew", [{"opset": 9999}, {"ir": 9999}, {"opsets": {"ai.onnx.ml": 99}}])
def test_newer_versions_than_onnx_knows_are_skew(skew: dict[str, Any]) -> None:
    proto = relu()
    proto = model_of(list(proto.graph.node), [tensor_info("x")], [tensor_info("y")], **skew)
    backend = ReferenceBackend()
    with pytest.raises(SkewError, match=onnx.__version__):
        backend.supports(backend.devices()[0], hal_model(proto))
    with pytest.raises(SkewError, match="99"):
        backend.compile(backend.devices()[0], hal_model(proto), {})


@pytest.mark.parametrize("data", [b"not a model", b"", relu().SerializeToString()[:-3]])
def test_bytes_that_are_no_model_give_one_clear_error(data: bytes) -> None:
    backend = ReferenceBackend()
    with pytest.raises(ModelError, match="not an ONNX model"):
        backend.compile(backend.devices()[0], Model(data), {})


def test_an_option_is_refused_by_name() -> None:
    backend = ReferenceBackend()
    with pytest.raises(UsageError, match="'threads'"):
        backend.compile(backend.devices()[0], hal_model(relu()), {"threads": 2})


def test_the_long_name_of_the_default_domain_is_understood() -> None:
    proto = relu()
    proto.opset_import[0].domain = proto.graph.node[0].domain = "ai.onnx"
    got = compiled(proto).run({"x": Tensor.from_numpy(np.float32([-1, 1]))})["y"]
    assert isinstance(got, Tensor)
    assert got.numpy().tolist() == [0, 1]


def external(location: str) -> onnx.ModelProto:
    weight = numpy_helper.from_array(np.float32([1, 2, 3]), "w")
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value=location)
    node = helper.make_node("Add", ["x", "w"], ["y"], name="add")
    return model_of([node], [tensor_info("x")], [tensor_info("y")], initializers=[weight])


def test_external_data_is_read_from_the_models_folder(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(np.float32([1, 2, 3]).tobytes())
    executable = compiled(external("w.bin"), tmp_path)
    got = executable.run({"x": Tensor.from_numpy(np.float32(1))})["y"]
    assert isinstance(got, Tensor)
    assert got.numpy().tolist() == [2, 3, 4]


def test_external_data_may_not_leave_the_models_folder(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(np.float32([1, 2, 3]).tobytes())
    folder = tmp_path / "inner"
    folder.mkdir()
    for location in ("../w.bin", str(tmp_path / "w.bin"), "absent.bin"):
        with pytest.raises(ModelError, match="external data"):
            compiled(external(location), folder)
    with pytest.raises(ModelError, match="no folder"):
        compiled(external("w.bin"))


def test_a_wrong_dtype_is_handed_on_as_it_is() -> None:
    node = helper.make_node("Neg", ["x"], ["y"], name="neg")
    declared_float = model_of([node], [tensor_info("x", TensorProto.DOUBLE)], [tensor_info("y")])
    got = compiled(declared_float).run({"x": Tensor.from_numpy(np.float64([1]))})["y"]
    assert isinstance(got, Tensor)
    assert got.element_type is ElementType.DOUBLE


@pytest.mark.parametrize(
    "result",
    [np.array([1, 2], dtype=object), None, 1.5, np.array(["2020-01-01"], dtype="datetime64[D]")],
    ids=["objects", "none", "python-float", "datetime"],
)
def test_a_result_that_is_no_onnx_value_is_an_error(result: Any) -> None:
    with pytest.raises(ExecutionError, match="'out'"):
        to_value(result, tensor_info("out").type, "out")


def test_optionals_come_back_full_and_empty() -> None:
    tensor = helper.make_tensor_type_proto(FLOAT, None)
    sequence = helper.make_sequence_type_proto(tensor)
    x = np.float32([1])
    for element, held in ((tensor, x), (sequence, [x, x]), (sequence, [x])):
        proto = helper.make_optional_type_proto(element)
        for result in (held, [held]):
            got = to_value(result, proto, "o")
            assert isinstance(got, OptionalValue)
            inner = to_value(held, element, "o")
            assert got.value is not None
            assert got.value.type == inner.type
            assert got.type == f"optional({inner.type})"
        for nothing in (None, [None]):
            empty = to_value(nothing, proto, "o")
            assert isinstance(empty, OptionalValue)
            assert empty.value is None


def test_an_empty_optional_may_be_left_out_or_given() -> None:
    proto = helper.make_optional_type_proto(helper.make_tensor_type_proto(FLOAT, None))
    node = helper.make_node("OptionalHasElement", ["x"], ["y"], name="n")
    info = helper.make_value_info("x", proto)
    executable = compiled(model_of([node], [info], [tensor_info("y", TensorProto.BOOL)]))
    full = OptionalValue("optional(tensor(float))", Tensor.from_numpy(np.float32([1])))
    for feeds, expected in (
        ({}, False),
        ({"x": OptionalValue("optional(tensor(float))", None)}, False),
        ({"x": full}, True),
    ):
        got = executable.run(feeds)["y"]
        assert isinstance(got, Tensor)
        assert got.numpy().tolist() is expected


def test_an_empty_sequence_keeps_its_declared_type() -> None:
    element = helper.make_tensor_type_proto(TensorProto.INT64, None)
    node = helper.make_node("SequenceEmpty", [], ["y"], name="n", dtype=TensorProto.INT64)
    info = helper.make_value_info("y", helper.make_sequence_type_proto(element))
    got = compiled(model_of([node], [], [info])).run({})["y"]
    assert isinstance(got, SequenceValue)
    assert (got.type, got.items) == ("seq(tensor(int64))", ())


def test_maps_go_in_and_come_out() -> None:
    number = helper.make_tensor_type_proto(FLOAT, None)
    mapped = onnx.TypeProto()
    mapped.map_type.key_type = TensorProto.STRING
    mapped.map_type.value_type.CopyFrom(number)
    node = helper.make_node(
        "DictVectorizer", ["x"], ["y"], domain="ai.onnx.ml", name="n", string_vocabulary=["b", "a"]
    )
    proto = model_of(
        [node],
        [helper.make_value_info("x", mapped)],
        [tensor_info("y")],
        opsets={"": 21, "ai.onnx.ml": 3},
    )
    keys = Tensor.from_numpy(np.array(["a", "b"], dtype=object))
    value = MapValue("map(string,tensor(float))", keys, Tensor.from_numpy(np.float32([1, 2])))
    got = compiled(proto).run({"x": value})["y"]
    assert isinstance(got, Tensor)
    assert got.numpy().tolist() == [2, 1]
    back = to_value({"a": np.float32(1), "b": np.float32(2)}, mapped, "m")
    assert isinstance(back, MapValue)
    assert back.type == value.type
    assert bytes(back.keys.data) == bytes(value.keys.data)
    assert bytes(back.values.data) == bytes(value.values.data)


def test_infinities_raise_no_warning() -> None:
    node = helper.make_node("Reciprocal", ["x"], ["y"], name="n")
    executable = compiled(model_of([node], [tensor_info("x")], [tensor_info("y")]))
    got = executable.run({"x": Tensor.from_numpy(np.float32([0]))})["y"]
    assert isinstance(got, Tensor)
    assert got.numpy().tolist() == [np.inf]


def test_a_closed_executable_does_not_run() -> None:
    executable = compiled(relu())
    executable.close()
    with pytest.raises(ExecutionError, match="closed"):
        executable.run({"x": Tensor.from_numpy(np.float32([1]))})


def test_served_from_a_host_process() -> None:
    with Host("hal_reference", "reference") as host:
        (device,) = host.devices()
        executable = host.compile(device, hal_model(relu()), {})
        got = executable.run({"x": Tensor.from_numpy(np.float32([-1, 2]))})["y"]
        assert isinstance(got, Tensor)
        assert got.numpy().tolist() == [0, 2]
        assert [n.device for n in executable.placement().nodes] == ["reference:cpu"]
