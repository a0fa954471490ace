from __future__ import annotations

import dataclasses
import mmap
import os
import time

import numpy as np
import pytest
from hal_conformance.case import Case, DataSet
from hal_conformance.casefile import CaseFile, encode_cases, write_atomically

from hal import ElementType, MapValue, Model, OptionalValue, SequenceValue, Tensor
from hal.compare import compare
from hal.errors import DataError

FLOATS = Tensor.from_numpy(np.arange(6, dtype=np.float32).reshape(2, 3))
VALUES = {
    **{
        e.name: Tensor(e, (3,), memoryview(bytes(range(e.nbytes(3)))))
        for e in ElementType
        if e is not ElementType.STRING
    },
    "strings": Tensor.from_numpy(np.array([["a"], ["bé"]], object)),
    "scalar": Tensor.from_numpy(np.array(1, np.int64)),
    "empty": Tensor.from_numpy(np.zeros((0, 3), np.float32)),
    "sequence": SequenceValue("seq(tensor(float))", (FLOATS, FLOATS)),
    "empty sequence": SequenceValue("seq(tensor(float))", ()),
    "none": OptionalValue("optional(tensor(float))", None),
    "optional": OptionalValue(
        "optional(seq(tensor(float)))", SequenceValue("seq(tensor(float))", (FLOATS,))
    ),
    "map": MapValue(
        "map(string, tensor(float))",
        Tensor.from_numpy(np.array(["x", "y"], object)),
        Tensor.from_numpy(np.array([1, 2], np.float32)),
    ),
}


def case(name="a", values=VALUES):
    return Case(
        id=f"onnx/node/{name}",
        suite="onnx",
        nodes=("first", "second"),
        operators=("Abs",),
        cells=("Abs-13/T/tensor(float)",),
        single_operator="Abs",
        expanded=False,
        opset=13,
        ir_version=7,
        rtol=1e-3,
        atol=1e-7,
        disputed="why",
        judge="statistics",
        model=Model(b"model of " + name.encode()),
        data_sets=(DataSet(values, {"y": FLOATS}), DataSet({}, values)),
    )


def test_what_is_read_is_what_was_written(tmp_path):
    path = tmp_path / "cases"
    write_atomically(path, encode_cases([case("a"), case("b", {"x": FLOATS})]))
    file = CaseFile.open(path)
    assert list(file.facts) == ["onnx/node/a", "onnx/node/b"]
    for name in "ab":
        want = case(name, VALUES if name == "a" else {"x": FLOATS})
        got = file.load(f"onnx/node/{name}")
        for field in dataclasses.fields(want):
            if field.name != "data_sets":
                assert getattr(got, field.name) == getattr(want, field.name)
        for one, other in zip(got.data_sets, want.data_sets, strict=True):
            for a, b in ((one.inputs, other.inputs), (one.outputs, other.outputs)):
                assert list(a) == list(b)
                assert [compare(b[k], a[k], rtol=0, atol=0) for k in a] == [""] * len(a)


def test_tensors_are_views_of_the_file(tmp_path):
    path = tmp_path / "cases"
    write_atomically(path, encode_cases([case()]))
    tensor = CaseFile.open(path).load("onnx/node/a").data_sets[0].outputs["y"]
    assert isinstance(tensor, Tensor)
    assert isinstance(tensor.data.obj, mmap.mmap)
    assert tensor.bits().ctypes.data % 64 == 0


def test_same_cases_give_the_same_bytes():
    assert encode_cases([case()]) == encode_cases([case()])


@pytest.mark.parametrize("length", [0, 1, 30, 200, -1])
def test_truncated_file(tmp_path, length):
    path = tmp_path / "cases"
    path.write_bytes(encode_cases([case()])[:length])
    with pytest.raises(DataError, match=r"truncated|empty|format"):
        CaseFile.open(path)


def test_damaged_index():
    data = bytearray(encode_cases([case()]))
    data[data.index(b"onnx/node/a")] ^= 1
    with pytest.raises(DataError, match="damaged"):
        CaseFile(bytes(data), "here")


def test_damaged_case_is_noticed_when_it_is_loaded():
    data = bytearray(encode_cases([case("a"), case("b")]))
    data[data.index(b"model of b")] ^= 1
    file = CaseFile(bytes(data), "here")
    assert file.load("onnx/node/a").model.data == b"model of a"
    with pytest.raises(DataError, match="here: the bytes of onnx/node/b are damaged"):
        file.load("onnx/node/b")


def test_other_format():
    data = bytearray(encode_cases([case()]))
    data[8] ^= 0xFF
    with pytest.raises(DataError, match="not a case file of format"):
        CaseFile(bytes(data), "here")


def test_failed_write_leaves_nothing_behind(tmp_path, monkeypatch):
    path = tmp_path / "cases"
    path.write_bytes(b"old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_writer_left_is_removed_later(tmp_path):
    old, young = tmp_path / "cases.1.tmp", tmp_path / "cases.2.tmp"
    for file in (old, young):
        file.write_bytes(b"x")
    os.utime(old, (time.time() - 7200,) * 2)
    write_atomically(tmp_path / "cases", b"new")
    assert {p.name for p in tmp_path.iterdir()} == {"cases", "cases.2.tmp"}
