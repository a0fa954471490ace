"""Every kind of value, into OpenVINO and out of it again."""

from __future__ import annotations

import threading

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from hal import ElementType, Model, SequenceValue, Tensor
from hal.errors import ExecutionError, ModelError, UnfedError, UsageError

FLOAT4 = (TensorProto.FLOAT, [4])
IDENTITY = [
    ElementType.FLOAT,
    ElementType.UINT8,
    ElementType.INT8,
    ElementType.UINT16,
    ElementType.INT16,
    ElementType.INT32,
    ElementType.INT64,
    ElementType.BOOL,
    ElementType.FLOAT16,
    ElementType.DOUBLE,
    ElementType.UINT32,
    ElementType.UINT64,
    ElementType.BFLOAT16,
    ElementType.FLOAT8E4M3FN,
    ElementType.FLOAT8E5M2,
    ElementType.FLOAT8E8M0,
    ElementType.FLOAT4E2M1,
    ElementType.INT4,
    ElementType.UINT4,
]


@pytest.mark.parametrize("shape", [(3, 5), (), (0, 4)], ids=["plain", "scalar", "empty"])
@pytest.mark.parametrize("element_type", IDENTITY, ids=lambda e: f"identity-{e.onnx_name}")
def test_tensor(openvino, cpu, build, element_type, shape):
    bits = np.arange(int(np.prod(shape))).astype(np.uint8)
    bits = bits % (2 if element_type is ElementType.BOOL else 1 << min(element_type.bits, 7))
    given = Tensor.from_numpy(bits.astype(element_type.storage).reshape(shape), element_type)
    kind = (int(element_type), [None] * len(shape))
    node = helper.make_node("Identity", ["x"], ["y"], name="n")
    model = build([node], {"x": kind}, {"y": kind}, opset=25, ir=13)
    got = openvino.compile(cpu, model, {}).run({"x": given})["y"]
    assert (got.element_type, got.shape) == (element_type, shape)
    assert bytes(got.data) == bytes(given.data)


def test_strings_in(openvino, cpu, build):
    node = helper.make_node("Shape", ["x"], ["y"], name="n")
    model = build([node], {"x": (TensorProto.STRING, [None])}, {"y": (TensorProto.INT64, [1])})
    given = Tensor.from_numpy(np.array(["a", "é", ""], dtype=object))
    assert openvino.compile(cpu, model, {}).run({"x": given})["y"].numpy().tolist() == [3]


@pytest.mark.parametrize("shape", [(2, 2), (0,)], ids=["plain", "empty"])
def test_strings_make_the_round_trip(openvino, shape):
    from hal_openvino._values import feed, taken

    strings = np.array(["a", "é", "", "long enough for the heap"], dtype=object)
    given = Tensor.from_numpy(strings[: int(np.prod(shape))].reshape(shape))
    got = taken("y", feed("x", given))
    assert (got.element_type, got.shape) == (ElementType.STRING, shape)
    assert got.numpy().tolist() == given.numpy().tolist()


@pytest.mark.parametrize(
    ("text", "why"), [("a\0", "NUL"), (b"\x80", "UTF-8")], ids=["nul", "latin"]
)
def test_strings_that_it_would_change_are_unfed(text, why):
    from hal_openvino._values import feed

    with pytest.raises(UnfedError, match=why):
        feed("x", Tensor.from_numpy(np.array([text], dtype=object)))


@pytest.mark.parametrize(
    "value",
    [
        Tensor.from_numpy(np.zeros(4, dtype=np.complex64)),
        Tensor.from_numpy(np.zeros(4, dtype=np.uint8), ElementType.FLOAT8E4M3FNUZ),
        SequenceValue("seq(tensor(float))", ()),
    ],
    ids=["complex64", "float8e4m3fnuz", "sequence"],
)
def test_what_the_api_does_not_take_is_unfed(openvino, cpu, relu, value):
    with pytest.raises(UnfedError, match="'x'"):
        openvino.compile(cpu, relu, {}).run({"x": value})


@pytest.mark.parametrize(
    "given",
    [{}, {"x": np.zeros(5, dtype=np.float32)}, {"x": np.zeros(4, dtype=np.float64)}],
    ids=["missing", "shape", "dtype"],
)
def test_wrong_input_is_an_execution_error(openvino, cpu, relu, given):
    executable = openvino.compile(cpu, relu, {})
    executable.run({"x": Tensor.from_numpy(np.zeros(4, dtype=np.float32))})
    with pytest.raises(ExecutionError):
        executable.run({name: Tensor.from_numpy(array) for name, array in given.items()})


def test_dynamic_shapes(openvino, cpu, build):
    kind = (TensorProto.FLOAT, ["n", None])
    model = build([helper.make_node("Relu", ["x"], ["y"], name="n")], {"x": kind}, {"y": kind})
    executable = openvino.compile(cpu, model, {})
    for shape in ((2, 3), (5, 1), (0, 3)):
        got = executable.run({"x": Tensor.from_numpy(np.full(shape, -1, dtype=np.float32))})["y"]
        assert got.shape == shape
        assert not got.numpy().any()


def test_outputs_by_name(openvino, cpu, build):
    nodes = [
        helper.make_node("Neg", ["x"], ["n"], name="neg"),
        helper.make_node("Identity", ["n"], ["b"], name="id1"),
        helper.make_node("Exp", ["x"], ["a"], name="exp"),
    ]
    model = build(nodes, {"x": FLOAT4}, {"n": FLOAT4, "b": FLOAT4, "a": FLOAT4, "x": FLOAT4})
    x = np.float32([0, 1, 2, 3])
    got = openvino.compile(cpu, model, {}).run({"x": Tensor.from_numpy(x)})
    assert list(got) == ["n", "b", "a", "x"]
    for name, expected in (("n", -x), ("b", -x), ("a", np.exp(x)), ("x", x)):
        np.testing.assert_allclose(got[name].numpy(), expected, rtol=1e-6)


def test_input_that_openvino_renames(openvino, cpu, build):
    nodes = [
        helper.make_node("Dropout", ["x", "r"], ["y"], name="d"),
        helper.make_node("Neg", ["z"], ["w"], name="neg"),
    ]
    model = build(
        nodes,
        {
            "unused": (TensorProto.FLOAT, [9]),
            "x": FLOAT4,
            "r": (TensorProto.FLOAT, []),
            "z": FLOAT4,
        },
        {"w": FLOAT4, "y": FLOAT4},
    )
    x, z = np.float32([0, 1, 2, 3]), np.float32([4, 5, 6, 7])
    given = {"unused": np.zeros(9, dtype=np.float32), "x": x, "r": np.float32(0.5), "z": z}
    executable = openvino.compile(cpu, model, {})
    got = executable.run({name: Tensor.from_numpy(array) for name, array in given.items()})
    assert got["y"].numpy().tolist() == x.tolist()
    assert got["w"].numpy().tolist() == (-z).tolist()


def test_an_initializer_cannot_be_overridden(openvino, cpu, build):
    weight = helper.make_tensor("w", TensorProto.FLOAT, [4], [1.0] * 4)
    node = helper.make_node("Add", ["x", "w"], ["y"], name="add")
    model = build([node], {"x": FLOAT4, "w": FLOAT4}, {"y": FLOAT4}, initializer=[weight])
    executable = openvino.compile(cpu, model, {})
    x = Tensor.from_numpy(np.zeros(4, dtype=np.float32))
    assert executable.run({"x": x})["y"].numpy().tolist() == [1] * 4
    with pytest.raises(UnfedError, match="constant"):
        executable.run({"x": x, "w": x})


def test_result_outlives_the_next_run(openvino, cpu, relu):
    executable = openvino.compile(cpu, relu, {})
    first = executable.run({"x": Tensor.from_numpy(np.float32([1, 2, 3, 4]))})["y"]
    executable.run({"x": Tensor.from_numpy(np.float32([5, 6, 7, 8]))})
    executable.close()
    assert first.numpy().tolist() == [1, 2, 3, 4]
    with pytest.raises(ExecutionError, match="closed"):
        executable.run({})


def test_run_from_several_threads(openvino, cpu, relu):
    executable = openvino.compile(cpu, relu, {"threads": 1})
    wrong = []

    def work(number: int) -> None:
        given = Tensor.from_numpy(np.full(4, number, dtype=np.float32))
        for _ in range(50):
            if executable.run({"x": given})["y"].numpy().tolist() != [number] * 4:
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_external_data_in_the_models_folder(openvino, cpu, build, tmp_path):
    weight = helper.make_tensor("w", TensorProto.FLOAT, [4], bytes(16), raw=True)
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="inner/w.bin")
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "w.bin").write_bytes(np.float32([1, 2, 3, 4]).tobytes())
    node = helper.make_node("Add", ["x", "w"], ["y"], name="add")
    model = build([node], {"x": FLOAT4}, {"y": FLOAT4}, initializer=[weight])
    executable = openvino.compile(cpu, Model(model.data, tmp_path), {})
    got = executable.run({"x": Tensor.from_numpy(np.zeros(4, dtype=np.float32))})["y"]
    assert got.numpy().tolist() == [1, 2, 3, 4]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["inner"]


def test_model_of_the_fixtures_is_valid(relu):
    onnx.checker.check_model(onnx.load_from_string(relu.data))


def test_external_data_outside_the_models_folder_is_refused(openvino, cpu, build, tmp_path):
    weight = helper.make_tensor("w", TensorProto.FLOAT, [4], bytes(16), raw=True)
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="../w.bin")
    (tmp_path / "inner").mkdir()
    (tmp_path / "w.bin").write_bytes(bytes(16))
    node = helper.make_node("Add", ["x", "w"], ["y"], name="add")
    model = build([node], {"x": FLOAT4}, {"y": FLOAT4}, initializer=[weight])
    with pytest.raises(ModelError, match="leaves the model's folder"):
        openvino.compile(cpu, Model(model.data, tmp_path / "inner"), {})


@pytest.mark.parametrize("rows", [2, None], ids=["fixed", "open"])
def test_bound_inputs_are_run_in_place(openvino, cpu, build, rows):
    kind = (TensorProto.FLOAT, [rows, 3])
    node = helper.make_node("Add", ["x", "x"], ["y"])
    x = np.ones((2, 3), np.float32)
    bound = openvino.compile(cpu, build([node], {"x": kind}, {"y": kind}), {}).bind({"x": x})
    assert tuple(bound.names) == ("y",)
    np.testing.assert_array_equal(np.from_dlpack(bound.run()[0]), x + x)
    x[:] = 4
    np.testing.assert_array_equal(bound.run()[0], np.full((2, 3), 8, np.float32))


def test_bound_values_that_numpy_lacks_are_run_as_usual(openvino, cpu, build):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    given = np.arange(3).astype(ml_dtypes.bfloat16)
    kind = (TensorProto.BFLOAT16, [3])
    node = helper.make_node("Identity", ["x"], ["y"])
    executable = openvino.compile(cpu, build([node], {"x": kind}, {"y": kind}), {})
    (y,) = executable.bind({"x": given}).run()
    np.testing.assert_array_equal(y, given)
    with pytest.raises(UsageError, match="no value for input 'x'"):
        executable.bind({})
    executable.close()
    with pytest.raises(ExecutionError, match="closed"):
        executable.bind({"x": given})
