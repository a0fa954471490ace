"""What onnxruntime refuses, and as which error it arrives."""

from __future__ import annotations

import numpy as np
import pytest
from hal_onnxruntime._errors import explain, words
from hal_onnxruntime._options import provider_options
from onnx import TensorProto, helper

from hal import Device, Model, Tensor
from hal.errors import (
    ExecutionError,
    FallbackError,
    ModelError,
    SkewError,
    UnsupportedError,
    UsageError,
)

FLOAT4 = (TensorProto.FLOAT, [4])


def one(build, operator, kind=FLOAT4, **options):
    attributes = options.pop("attributes", {})
    node = helper.make_node(operator, ["x"], ["y"], name="n1", **attributes)
    return build([node], {"x": kind}, {"y": kind}, **options)


@pytest.mark.parametrize("newer", [{"opset": 99}, {"ir": 99}], ids=["opset", "ir"])
def test_newer_than_it_accepts_is_skew(ort, cpu, build, newer):
    with pytest.raises(SkewError, match="99"):
        ort.compile(cpu, one(build, "Relu", **newer), {})


def test_no_kernel_is_unsupported_and_names_the_node(ort, cpu, build):
    kind = (TensorProto.DOUBLE, [4])
    model = one(build, "Acosh", kind, opset=13, ir=8)
    with pytest.raises(UnsupportedError) as caught:
        ort.compile(cpu, model, {})
    assert caught.value.nodes == ("n1",)
    (node,) = ort.supports(cpu, model).unsupported
    assert (node.node, node.operator) == ("n1", "Acosh-9")
    assert "implementation" in node.reason


@pytest.mark.parametrize(
    ("operator", "kind", "attributes"),
    [
        ("Foo", FLOAT4, {}),
        ("Relu", FLOAT4, {"foo": 3}),
        ("Identity", (TensorProto.COMPLEX64, [4]), {}),
    ],
    ids=["unknown-operator", "unknown-attribute", "complex"],
)
def test_what_it_does_not_know_is_unsupported(ort, cpu, build, operator, kind, attributes):
    model = one(build, operator, kind, attributes=attributes)
    with pytest.raises(UnsupportedError):
        ort.compile(cpu, model, {})
    assert [node.node for node in ort.supports(cpu, model).unsupported] == ["n1"]


def test_what_it_takes_is_supported(ort, cpu, relu):
    assert ort.supports(cpu, relu).supported


def test_garbage_is_no_model(ort, cpu):
    with pytest.raises(ModelError):
        ort.compile(cpu, Model(b"garbage"), {})


def test_wrong_shape_is_an_execution_error_in_its_own_words(ort, cpu, relu):
    executable = ort.compile(cpu, relu, {})
    with pytest.raises(ExecutionError, match="invalid dimensions for input: x") as caught:
        executable.run({"x": Tensor.from_numpy(np.zeros(5, dtype=np.float32))})
    assert "ONNXRuntimeError" not in str(caught.value)


def test_missing_input_is_an_execution_error(ort, cpu, relu):
    with pytest.raises(ExecutionError, match="x"):
        ort.compile(cpu, relu, {}).run({})


def test_refused_fallback_is_its_own_error():
    message = (
        "[ONNXRuntimeError] : 1 : FAIL : This session contains graph nodes that are assigned to "
        "the default CPU EP, but fallback to CPU EP has been explicitly disabled by the user."
    )
    assert isinstance(explain(RuntimeError(message)), FallbackError)


def test_words_leave_the_source_out():
    error = RuntimeError(
        "[ONNXRuntimeError] : 1 : FAIL : /src/core/a.cc:46 void ns::F(const std::map<int, int>&) "
        "const [with T = float] layout_ == 0 was false. Batchwise"
    )
    assert words(error) == "layout_ == 0 was false. Batchwise"


@pytest.mark.parametrize(
    "options",
    [
        {"intra_op_threads": 1, "inter_op_threads": 1},
        {"graph_optimization": "disabled"},
        {"graph_optimization": "extended", "execution_mode": "parallel"},
    ],
    ids="-".join,
)
def test_options(ort, cpu, relu, options):
    executable = ort.compile(cpu, relu, options)
    got = executable.run({"x": Tensor.from_numpy(np.float32([-1, 0, 1, 2]))})["y"]
    assert got.numpy().tolist() == [0, 0, 1, 2]
    given = executable._session.get_session_options()
    assert given.intra_op_num_threads == options.get("intra_op_threads", 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"intra_op_thread": 1}, "Did you mean 'intra_op_threads'"),
        ({"intra_op_threads": "two"}, "count"),
        ({"intra_op_threads": True}, "count"),
        ({"graph_optimization": "extendet"}, "Did you mean 'extended'"),
    ],
    ids=["name", "text", "bool", "choice"],
)
def test_bad_option_is_a_usage_error(ort, cpu, relu, options, message):
    with pytest.raises(UsageError, match=message):
        ort.compile(cpu, relu, options)


def test_provider_options_are_named_ep():
    options = {"ep.device_id": 1, "ep.use_tf32": False, "ep.name": "x", "intra_op_threads": 1}
    assert provider_options(options) == {"device_id": "1", "use_tf32": "0", "name": "x"}


def test_the_cpu_provider_has_no_options(ort, cpu, relu):
    with pytest.raises(UsageError, match="arena"):
        ort.compile(cpu, relu, {"ep.arena": 1})


def test_remote_id_is_the_same_device(ort, relu):
    executable = ort.compile(Device("board/ort:cpu", "cpu"), relu, {})
    assert executable.placement().nodes


def test_external_data_in_the_models_folder(ort, cpu, build, tmp_path):
    weight = helper.make_tensor(
        "w", TensorProto.FLOAT, [4], np.float32([1, 2, 3, 4]).tobytes(), raw=True
    )
    external(weight, "w.bin")
    (tmp_path / "w.bin").write_bytes(np.float32([1, 2, 3, 4]).tobytes())
    node = helper.make_node("Add", ["x", "w"], ["y"], name="add")
    model = build([node], {"x": FLOAT4}, {"y": FLOAT4}, initializer=[weight])
    executable = ort.compile(cpu, Model(model.data, tmp_path), {})
    got = executable.run({"x": Tensor.from_numpy(np.zeros(4, dtype=np.float32))})["y"]
    assert got.numpy().tolist() == [1, 2, 3, 4]


def test_external_data_outside_the_models_folder_is_refused(ort, cpu, build, tmp_path):
    weight = helper.make_tensor("w", TensorProto.FLOAT, [4], bytes(16), raw=True)
    external(weight, "../w.bin")
    (tmp_path / "inner").mkdir()
    (tmp_path / "w.bin").write_bytes(bytes(16))
    node = helper.make_node("Add", ["x", "w"], ["y"], name="add")
    model = build([node], {"x": FLOAT4}, {"y": FLOAT4}, initializer=[weight])
    with pytest.raises((ExecutionError, ModelError)):
        ort.compile(cpu, Model(model.data, tmp_path / "inner"), {})


def external(tensor, location):
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
