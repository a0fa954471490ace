"""Whatever the bytes are, `read_model` gives a graph or one ModelError."""

from __future__ import annotations

import math
import os
import random
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

import hal
from hal.errors import ModelError
from hal.graph import read_model


def sample() -> bytes:
    """A model with most kinds of field: subgraphs, functions, sparse, strings, all list types."""
    branch = helper.make_graph(
        [helper.make_node("Neg", ["x"], ["b"])], "b", [], [onnx.ValueInfoProto(name="b")]
    )
    values = helper.make_tensor("sp", TensorProto.FLOAT, [2], [1.0, 2.0])
    indices = helper.make_tensor("i", TensorProto.INT64, [2], [0, 5])
    nodes = [
        helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch),
        helper.make_node("F", ["y"], ["z"], domain="local", a=[1, 2], f=[1.5], s=["a", "b"]),
        helper.make_node("Add", ["z", "w"], ["o"], t=helper.make_tensor("t", 1, [1], [3.0])),
    ]
    graph = helper.make_graph(
        nodes,
        "main",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3]),
            helper.make_tensor_value_info("c", TensorProto.BOOL, []),
            helper.make_tensor_sequence_value_info("s", TensorProto.INT32, None),
        ],
        [helper.make_tensor_value_info("o", TensorProto.FLOAT, None)],
        [
            helper.make_tensor("w", TensorProto.FLOAT, [3], [1, 2, 3]),
            helper.make_tensor("h", TensorProto.FLOAT16, [2], [1, 2]),
            helper.make_tensor("k", TensorProto.INT64, [3], [1, -2, 1 << 40]),
            helper.make_tensor("n", TensorProto.STRING, [2], ["ab", "ü"]),
            onnx.numpy_helper.from_array(np.arange(6, dtype=np.int32), "r"),
        ],
        sparse_initializer=[helper.make_sparse_tensor(values, indices, [2, 3])],
    )
    function = helper.make_function(
        "local",
        "F",
        ["p"],
        ["q"],
        [helper.make_node("Abs", ["p"], ["q"])],
        [helper.make_opsetid("", 20)],
        ["a", "f", "s"],
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", 20), helper.make_opsetid("local", 1)],
        functions=[function],
    )
    return model.SerializeToString()


SAMPLE = sample()


def accepts(data: bytes) -> bool:
    """Whether it is a model; what is none gives one line, and no other error."""
    try:
        read_model(hal.Model(data))
    except ModelError as error:
        assert "\n" not in str(error) and str(error)
        return False
    return True


def test_sample_is_read():
    assert accepts(SAMPLE)


def test_every_truncation_is_a_model_error_or_a_graph():
    verdicts = [accepts(SAMPLE[:size]) for size in range(len(SAMPLE))]
    assert verdicts.count(False) > len(SAMPLE) // 2


def test_every_byte_flipped():
    rng = random.Random(3)
    refused = 0
    for position in range(len(SAMPLE)):
        for octet in (0xFF, 0x00, 0x80, rng.randrange(256)):
            damaged = bytearray(SAMPLE)
            damaged[position] = octet
            refused += not accepts(bytes(damaged))
    assert refused > len(SAMPLE)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_arbitrary_bytes(data):
    if accepts(data):  # then protobuf decodes it too
        assert onnx.ModelProto.FromString(data).HasField("graph")


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(SAMPLE) - 1), st.integers(0, 30), st.binary(max_size=12))
def test_arbitrary_splices(position, length, patch):
    data = SAMPLE[:position] + patch + SAMPLE[position + length :]
    assert accepts(data) or data != SAMPLE


def message(number: int, payload: bytes) -> bytes:
    size, length = len(payload), b""
    while True:
        length += bytes([size & 0x7F | (0x80 if size > 0x7F else 0)])
        size >>= 7
        if not size:
            return bytes([number << 3 | 2]) + length + payload


def test_nested_graphs_are_bounded():
    graph = b""
    for _ in range(3000):
        node = message(4, b"If") + message(5, message(1, b"g") + message(6, graph))
        graph = message(1, node)
    data = b"\x08\x09" + message(8, b"\x10\x14") + message(7, graph)
    with pytest.raises(ModelError, match="deep"):
        read_model(hal.Model(data))


def test_nested_types_are_bounded():
    kind = b""
    for _ in range(3000):
        kind = message(4, message(1, kind))
    data = b"\x08\x09" + message(8, b"\x10\x14") + message(7, message(11, message(2, kind)))
    with pytest.raises(ModelError, match="deep"):
        read_model(hal.Model(data))


def with_initializer(tensor: TensorProto) -> bytes:
    graph = helper.make_graph([], "g", [], [onnx.ValueInfoProto(name="w")], [tensor])
    return helper.make_model(graph).SerializeToString()


@pytest.mark.parametrize(
    ("dims", "reason"),
    [
        ([10 << 40], "its shape needs"),
        ([1 << 62, 1 << 62], "more elements than any memory"),
        ([-1], "negative dimension"),
        ([1] * 70, "70 dimensions"),
        ([2], "its shape needs 8 bytes, it has 4"),
    ],
)
def test_sizes_are_checked_before_allocation(dims, reason):
    tensor = TensorProto(name="w", data_type=1, dims=dims, raw_data=b"1234")
    with pytest.raises(ModelError, match=reason):
        read_model(hal.Model(with_initializer(tensor)))


def test_typed_data_of_the_wrong_count():
    tensor = TensorProto(name="w", data_type=6, dims=[1 << 45], int32_data=[1, 2])
    with pytest.raises(ModelError, match=r"'w'.*it has 2"):
        read_model(hal.Model(with_initializer(tensor)))


def external(location: str, folder: Path | None, *, dims=(2,), **entries: str) -> hal.Model:
    tensor = TensorProto(name="w", data_type=1, dims=dims, data_location=1)
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=value)
    return hal.Model(with_initializer(tensor), folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    inside = tmp_path / "model"
    (inside / "sub").mkdir(parents=True)
    (inside / "sub" / "w.bin").write_bytes(np.arange(4, dtype="<f4").tobytes())
    (tmp_path / "secret").write_bytes(b"x" * 64)
    (inside / "link").symlink_to(tmp_path / "secret")
    (inside / "loop").symlink_to(inside / "loop")
    os.mkfifo(inside / "pipe")
    return inside


def test_external_data_is_mapped(folder):
    model = external("sub/w.bin", folder, offset="4", length="8")
    tensor = read_model(model).graph.initializers["w"]
    assert tensor.numpy().tolist() == [1.0, 2.0]
    assert tensor.data.readonly


@pytest.mark.parametrize(
    ("location", "entries", "reason"),
    [
        ("/etc/passwd", {}, "absolute"),
        ("C:\\windows\\x", {}, "absolute"),
        ("../secret", {}, "leaves"),
        ("sub/../../secret", {}, "leaves"),
        ("sub\\..\\..\\secret", {}, "leaves"),
        ("link", {}, "leaves"),
        ("loop", {}, "link"),
        ("missing", {}, "No such file"),
        ("sub", {}, "directory|regular"),
        ("pipe", {}, "regular file"),
        ("", {}, "names no file"),
        ("a\0b", {}, "names no file"),
        ("sub/w.bin", {"offset": "12"}, "of a file of 16 bytes"),
        ("sub/w.bin", {"offset": "99999999999999999999"}, "offset"),
        ("sub/w.bin", {"offset": "-4"}, "offset"),
        ("sub/w.bin", {"length": "4"}, "its length is 4"),
    ],
)
def test_external_data_is_confined(folder, location, entries, reason):
    with pytest.raises(ModelError, match=f"(?i){reason}"):
        read_model(external(location, folder, **entries))


def test_external_data_claims_ten_terabytes(folder):
    with pytest.raises(ModelError, match="of a file of 16 bytes"):
        read_model(external("sub/w.bin", folder, dims=(math.prod([10 << 40]) // 4,)))


def test_external_data_needs_a_folder():
    with pytest.raises(ModelError, match="without its folder"):
        read_model(external("w.bin", None))


def test_what_protobuf_would_merge_is_refused(folder):
    """A runtime that reads by protobuf merges messages that are given twice: it would see a tensor
    that HAL has not."""
    outside = external("../secret", folder).data
    plain = onnx.load_from_string(SAMPLE)
    twice = outside + message(7, plain.graph.SerializeToString())
    assert len(onnx.load_from_string(twice).graph.initializer) > len(plain.graph.initializer)
    with pytest.raises(ModelError, match="two graphs"):
        read_model(hal.Model(twice, folder))


@pytest.mark.parametrize(
    ("attribute", "reason"),
    [
        (message(1, b"a") + message(5, b"") + message(5, b"") + b"\xa0\x01\x04", "2 values"),
        (message(1, b"a") + b"\x18\x01" + message(5, b"") + b"\xa0\x01\x02", "of two kinds"),
        (message(1, b"a") + b"\xaa\x01\x01r" + message(5, b""), "a reference and has a value"),
    ],
)
def test_an_attribute_has_one_value(attribute, reason):
    node = message(4, b"F") + message(5, attribute)
    data = b"\x08\x09" + message(8, b"\x10\x14") + message(7, message(1, node))
    with pytest.raises(ModelError, match=reason):
        read_model(hal.Model(data))


def test_what_is_no_model_file(tmp_path):
    huge = tmp_path / "huge.onnx"
    with huge.open("wb") as file:
        file.truncate(10 << 40)  # sparse
    for path, reason in {
        huge: "has 2 GiB at most",
        Path("/dev/zero"): "a device is no file",
        tmp_path: "directory",
        tmp_path / "none": "No such file",
        Path("a\0b"): "null",
    }.items():
        with pytest.raises(ModelError, match=reason):
            hal.Model.from_path(path)
