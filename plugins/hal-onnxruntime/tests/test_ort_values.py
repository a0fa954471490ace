"""Every kind of value, into onnxruntime and out of it again."""

from __future__ import annotations

import threading

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from hal import ElementType, MapValue, OptionalValue, SequenceValue, Tensor
from hal.errors import ExecutionError, UnfedError, UsageError

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
    ElementType.FLOAT8E4M3FNUZ,
    ElementType.FLOAT8E5M2,
    ElementType.FLOAT8E5M2FNUZ,
]


def sequence(element_type: int) -> onnx.TypeProto:
    return helper.make_sequence_type_proto(helper.make_tensor_type_proto(element_type, None))


def optional(inner: onnx.TypeProto) -> onnx.TypeProto:
    return helper.make_optional_type_proto(inner)


def mapped(key: int) -> onnx.TypeProto:
    kind = onnx.TypeProto()
    kind.map_type.key_type = key
    kind.map_type.value_type.CopyFrom(helper.make_tensor_type_proto(TensorProto.FLOAT, []))
    return kind


@pytest.fixture
def identity(ort, cpu, build):
    def run(kind, value):
        node = helper.make_node("Identity", ["x"], ["y"], name="n")
        model = build([node], {"x": kind}, {"y": kind})
        return ort.compile(cpu, model, {"intra_op_threads": 1}).run({"x": value})["y"]

    return run


@pytest.mark.parametrize("shape", [(3, 5), (), (0, 4)], ids=["plain", "scalar", "empty"])
@pytest.mark.parametrize("element_type", IDENTITY, ids=lambda e: f"identity-{e.onnx_name}")
def test_tensor(identity, element_type, shape):
    count = int(np.prod(shape))
    values = np.arange(count).astype(np.uint8) % (2 if element_type is ElementType.BOOL else 120)
    bits = values.astype(element_type.storage).reshape(shape)
    given = Tensor.from_numpy(bits, element_type)
    got = identity((int(element_type), [None] * len(shape)), given)
    assert (got.element_type, got.shape) == (element_type, shape)
    assert bytes(got.data) == bytes(given.data)


def test_strings(identity):
    given = Tensor.from_numpy(np.array([["a", "é"], ["", "x\0y"]], dtype=object))
    got = identity((TensorProto.STRING, [2, 2]), given)
    assert got.numpy().tolist() == [["a", "é"], ["", "x\0y"]]


def test_string_that_is_not_utf8_is_unfed(identity):
    with pytest.raises(UnfedError, match="UTF-8"):
        identity((TensorProto.STRING, [1]), Tensor.from_numpy(np.array([b"\x80"], dtype=object)))


def test_string_scalar(identity):
    got = identity((TensorProto.STRING, []), Tensor.from_numpy(np.array("abc", dtype=object)))
    assert (got.shape, got.numpy().item()) == ((), "abc")


@pytest.mark.parametrize("count", [1, 4, 5], ids=lambda n: f"count-{n}")
def test_int4_in_and_out(ort, cpu, build, count):
    values = (np.arange(count) * 3 % 16).astype(np.uint8)
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "s"], ["f"], name="dq"),
        helper.make_node("QuantizeLinear", ["f", "s", "z"], ["y"], name="q"),
    ]
    kind = (TensorProto.INT4, [count])
    model = build(
        nodes,
        {"x": kind, "s": (TensorProto.FLOAT, []), "z": (TensorProto.INT4, [])},
        {"y": kind, "f": (TensorProto.FLOAT, [count])},
    )
    given = Tensor.from_numpy(values, ElementType.INT4)
    zero = Tensor.from_numpy(np.array(0, dtype=np.uint8), ElementType.INT4)
    executable = ort.compile(cpu, model, {})
    got = executable.run({"x": given, "s": Tensor.from_numpy(np.float32(1)), "z": zero})
    assert got["y"].element_type is ElementType.INT4
    assert got["y"].bits().tolist() == values.tolist()
    signed = np.where(values > 7, values.astype(np.int8) - 16, values)
    assert got["f"].numpy().tolist() == signed.astype(np.float32).tolist()


def test_complex_is_unfed_or_unsupported(cpu, ort, relu):
    with pytest.raises(UnfedError, match="complex64"):
        ort.compile(cpu, relu, {}).run({"x": Tensor.from_numpy(np.zeros(4, dtype=np.complex64))})


@pytest.mark.parametrize(
    "items",
    [[], [np.float32([1, 2]), np.float32([[3]])], [np.float32(4)]],
    ids=["empty", "two", "scalar"],
)
def test_sequence(identity, items):
    kind = "seq(tensor(float))"
    given = SequenceValue(kind, tuple(Tensor.from_numpy(item) for item in items))
    got = identity(sequence(TensorProto.FLOAT), given)
    assert isinstance(got, SequenceValue)
    assert got.type == kind
    assert [t.numpy().tolist() for t in got.items] == [item.tolist() for item in items]


def test_sequence_of_strings(identity):
    item = Tensor.from_numpy(np.array(["a", "b"], dtype=object))
    got = identity(sequence(TensorProto.STRING), SequenceValue("seq(tensor(string))", (item,)))
    assert got.items[0].numpy().tolist() == ["a", "b"]


@pytest.mark.parametrize("inside", [True, False], ids=["full", "empty"])
def test_optional(identity, inside):
    inner = Tensor.from_numpy(np.float32([1, 2])) if inside else None
    kind = optional(helper.make_tensor_type_proto(TensorProto.FLOAT, [None]))
    got = identity(kind, OptionalValue("optional(tensor(float))", inner))
    assert isinstance(got, OptionalValue)
    assert got.type == "optional(tensor(float))"
    assert (got.value.numpy().tolist() if got.value else None) == ([1, 2] if inside else None)


def test_optional_sequence(identity):
    inner = SequenceValue("seq(tensor(float))", (Tensor.from_numpy(np.float32([1])),))
    kind = optional(sequence(TensorProto.FLOAT))
    got = identity(kind, OptionalValue("optional(seq(tensor(float)))", inner))
    assert got.value.type == "seq(tensor(float))"
    assert got.value.items[0].numpy().tolist() == [1]


def dict_vectorizer(build):
    node = helper.make_node(
        "DictVectorizer",
        ["x"],
        ["y"],
        name="dv",
        domain="ai.onnx.ml",
        int64_vocabulary=[1, 2, 3],
    )
    return build([node], {"x": mapped(TensorProto.INT64)}, {"y": (TensorProto.FLOAT, [None, None])})


def test_map_in(ort, cpu, build):
    given = MapValue(
        "map(int64,tensor(float))",
        Tensor.from_numpy(np.array([1, 3])),
        Tensor.from_numpy(np.float32([1.5, 2])),
    )
    got = ort.compile(cpu, dict_vectorizer(build), {}).run({"x": given})["y"]
    assert got.numpy().ravel().tolist() == [1.5, 0, 2]


def test_empty_map_is_unfed(ort, cpu, build):
    given = MapValue(
        "map(int64,tensor(float))",
        Tensor.from_numpy(np.array([], dtype=np.int64)),
        Tensor.from_numpy(np.array([], dtype=np.float32)),
    )
    with pytest.raises(UnfedError, match="empty map"):
        ort.compile(cpu, dict_vectorizer(build), {}).run({"x": given})


def test_sequence_of_maps_out(ort, cpu, build):
    node = helper.make_node(
        "ZipMap", ["x"], ["y"], name="zm", domain="ai.onnx.ml", classlabels_strings=["a", "b"]
    )
    kind = helper.make_sequence_type_proto(mapped(TensorProto.STRING))
    model = build([node], {"x": (TensorProto.FLOAT, [None, 2])}, {"y": kind})
    given = Tensor.from_numpy(np.float32([[1, 2], [3, 4]]))
    got = ort.compile(cpu, model, {}).run({"x": given})["y"]
    assert got.type == "seq(map(string,tensor(float)))"
    assert [m.keys.numpy().tolist() for m in got.items] == [["a", "b"], ["a", "b"]]
    assert [m.values.numpy().tolist() for m in got.items] == [[1, 2], [3, 4]]
    assert got.items[0].type == "map(string,tensor(float))"


def test_string_beside_a_bfloat16_output_is_unfed(ort, cpu, build):
    node = helper.make_node("Cast", ["x"], ["y"], name="c", to=TensorProto.BFLOAT16)
    model = build([node], {"x": (TensorProto.STRING, [1])}, {"y": (TensorProto.BFLOAT16, [1])})
    executable = ort.compile(cpu, model, {})
    with pytest.raises(UnfedError, match="string"):
        executable.run({"x": Tensor.from_numpy(np.array(["1"], dtype=object))})


def test_output_does_not_alias_input(ort, cpu, build):
    node = helper.make_node("Identity", ["x"], ["y"], name="n")
    kind = (TensorProto.FLOAT, [2])
    model = build([node], {"x": kind}, {"y": kind, "x": kind})
    array = np.float32([1, 2])
    got = ort.compile(cpu, model, {}).run({"x": Tensor.from_numpy(array)})
    array[:] = 7
    assert got["y"].numpy().tolist() == [1, 2]


def test_bfloat16_output_outlives_its_session(ort, cpu, build):
    node = helper.make_node("Cast", ["x"], ["y"], name="c", to=TensorProto.BFLOAT16)
    model = build([node], {"x": (TensorProto.FLOAT, [1000])}, {"y": (TensorProto.BFLOAT16, [1000])})
    executable = ort.compile(cpu, model, {})
    got = executable.run({"x": Tensor.from_numpy(np.ones(1000, dtype=np.float32))})["y"]
    executable.close()
    del executable
    np.zeros(1 << 16).copy()
    assert (got.bits() == 0x3F80).all()


def test_closed_executable_says_so(ort, cpu, relu):
    executable = ort.compile(cpu, relu, {})
    executable.close()
    with pytest.raises(ExecutionError, match="closed"):
        executable.run({"x": Tensor.from_numpy(np.zeros(4, dtype=np.float32))})


def test_run_from_several_threads(ort, cpu, relu):
    executable = ort.compile(cpu, relu, {"intra_op_threads": 1})
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


@pytest.mark.parametrize("rows", [2, None], ids=["fixed", "open"])
def test_bound_inputs_are_run_in_place(ort, cpu, build, rows):
    kind = (TensorProto.FLOAT, [rows, 3])
    nodes = [
        helper.make_node("Add", ["x", "x"], ["y"]),
        helper.make_node("Shape", ["x"], ["s"]),
    ]
    model = build(nodes, {"x": kind}, {"y": kind, "s": (TensorProto.INT64, [2])})
    x = np.ones((2, 3), np.float32)
    bound = ort.compile(cpu, model, {}).bind({"x": x})
    assert tuple(bound.names) == ("y", "s")
    y, shape = bound.run()
    np.testing.assert_array_equal(np.from_dlpack(y), x + x)
    assert shape.tolist() == [2, 3]
    x[:] = 4
    again, _ = bound.run()
    np.testing.assert_array_equal(again, x + x)
    # What is written over has the address of the run before.
    assert (again is y) == (rows is not None)


@pytest.mark.parametrize("kind", ["string", "bfloat16"])
def test_bound_values_without_a_buffer_are_run_as_usual(ort, cpu, build, kind):
    if kind == "string":
        given = np.array(["a", "é", ""], dtype=object)
        type_ = TensorProto.STRING
    else:
        ml_dtypes = pytest.importorskip("ml_dtypes")
        given, type_ = np.arange(3).astype(ml_dtypes.bfloat16), TensorProto.BFLOAT16
    node = helper.make_node("Identity", ["x"], ["y"])
    model = build([node], {"x": (type_, [3])}, {"y": (type_, [3])})
    (y,) = ort.compile(cpu, model, {}).bind({"x": given}).run()
    np.testing.assert_array_equal(y, given)


def test_binding_refuses_what_does_not_fit(ort, cpu, build):
    kind = (TensorProto.FLOAT, [2])
    node = helper.make_node("Neg", ["x"], ["y"])
    executable = ort.compile(cpu, build([node], {"x": kind}, {"y": kind}), {})
    with pytest.raises(UsageError, match="no value for input 'x'"):
        executable.bind({})
    with pytest.raises(UsageError, match="expected tensor\\(float\\)\\[2\\], got"):
        executable.bind({"x": np.ones(2)})
    executable.close()
    with pytest.raises(ExecutionError, match="closed"):
        executable.bind({"x": np.ones(2, np.float32)})
