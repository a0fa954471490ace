"""Tensors: strings, layouts, wrong sizes, DLPack, and memory that is never written."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from hal import ElementType, Tensor

STRINGS = st.text(st.characters(codec="utf-8"), max_size=6)
SHAPES = st_numpy.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)


def strings_of(tensor: Tensor) -> list[str]:
    return list(tensor.numpy().ravel())


@settings(deadline=None)
@given(SHAPES, st.data())
def test_strings_there_and_back(shape: tuple[int, ...], data: st.DataObject) -> None:
    count = math.prod(shape)
    texts = data.draw(st.lists(STRINGS, min_size=count, max_size=count))
    array = np.empty(count, object)
    array[:] = texts
    tensor = Tensor.from_numpy(array.reshape(shape))
    assert (tensor.element_type, tensor.shape) == (ElementType.STRING, shape)
    assert strings_of(tensor) == texts
    assert tensor.numpy().shape == shape


@pytest.mark.parametrize(
    "text",
    ["", "a", "é", "日本", "🙂", "a\0b", "\0", "\udc80", "a\udcff\udc80b"],
    ids=ascii,
)
def test_odd_strings(text: str) -> None:
    assert strings_of(Tensor.from_numpy(np.array([text, "x", text], dtype=object))) == [
        text,
        "x",
        text,
    ]


def test_bytes_that_are_no_utf8_come_back_as_escapes() -> None:
    tensor = Tensor.from_numpy(np.array([b"\xff\xfe", b"ok"], dtype=object))
    assert [s.encode("utf-8", "surrogateescape") for s in strings_of(tensor)] == [
        b"\xff\xfe",
        b"ok",
    ]


def test_string_bytes_are_offsets_and_utf8() -> None:
    tensor = Tensor.from_numpy(np.array(["é", "", "bc"]))
    assert bytes(tensor.data) == np.array([0, 2, 2, 4], "<i8").tobytes() + "ébc".encode()


@pytest.mark.parametrize(
    "offsets",
    [[0, 5, 3], [1, 2, 3], [0, 1, 2], [0, 1, 4], [0, -1, 3]],
    ids=["falling", "late-start", "short", "beyond", "negative"],
)
def test_offsets_that_do_not_match_are_refused(offsets: list[int]) -> None:
    data = np.array(offsets, "<i8").tobytes() + b"abc"
    tensor = Tensor(ElementType.STRING, (2,), memoryview(data))
    with pytest.raises(ValueError, match="offsets"):
        tensor.numpy()


@pytest.mark.parametrize(
    ("kind", "shape", "nbytes"),
    [
        (ElementType.FLOAT, (2,), 7),
        (ElementType.FLOAT, (2,), 9),
        (ElementType.FLOAT, (), 0),
        (ElementType.FLOAT, (0,), 4),
        (ElementType.INT4, (3,), 1),
        (ElementType.INT4, (3,), 3),
        (ElementType.FLOAT6E2M3, (4,), 4),
        (ElementType.STRING, (2,), 23),
        (ElementType.STRING, (0,), 7),
    ],
    ids=str,
)
def test_wrong_size_is_refused(kind: ElementType, shape: tuple[int, ...], nbytes: int) -> None:
    with pytest.raises(ValueError, match="bytes"):
        Tensor(kind, shape, memoryview(bytes(nbytes)))


def test_negative_dimension_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        Tensor(ElementType.FLOAT, (-1, -1), memoryview(bytes(4)))


def test_empty_strings_tensor_holds_one_offset() -> None:
    tensor = Tensor.from_numpy(np.empty((0, 2), object))
    assert tensor.nbytes == 8
    assert tensor.numpy().shape == (0, 2)


@pytest.mark.parametrize("dtype", ["i2", "u4", "i8", "f2", "f4", "f8", "c8", "c16"])
def test_big_endian_is_turned(dtype: str) -> None:
    array = np.array([[1, 258], [-3 if dtype[0] != "u" else 3, 70]], ">" + dtype)
    tensor = Tensor.from_numpy(array)
    assert bytes(tensor.data) == array.astype("<" + dtype).tobytes()
    assert np.array_equal(tensor.numpy(), array)
    assert tensor.numpy().dtype == np.dtype("<" + dtype)


@settings(deadline=None)
@given(st_numpy.arrays(np.int32, SHAPES), st.data())
def test_any_layout_becomes_c_order(array: Any, data: st.DataObject) -> None:
    axes = data.draw(st.permutations(range(array.ndim)))
    view = array.transpose(axes)[..., ::-1] if array.ndim else array
    tensor = Tensor.from_numpy(view)
    assert tensor.shape == view.shape
    assert bytes(tensor.data) == view.tobytes()
    assert np.array_equal(tensor.numpy(), view)


def test_numpy_memory_is_shared_both_ways() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    tensor = Tensor.from_numpy(array)
    assert np.shares_memory(tensor.numpy(), array)
    array[0, 0] = 9
    assert tensor.numpy()[0, 0] == 9


@pytest.mark.parametrize(
    "kind",
    [t for t in ElementType if t is not ElementType.STRING],  # strings are decoded each time
    ids=lambda t: t.onnx_name,
)
def test_views_are_read_only(kind: ElementType) -> None:
    tensor = Tensor(kind, (8,), memoryview(bytearray(kind.nbytes(8))))
    for view in (tensor.bits(), tensor.numpy()):
        assert not view.flags.writeable
        with pytest.raises(ValueError, match="read-only"):
            view[0] = 1


def test_bit_pattern_of_another_width_is_refused() -> None:
    with pytest.raises(TypeError, match="uint8"):
        Tensor.from_numpy(np.zeros(2, np.uint8), ElementType.BFLOAT16)
    with pytest.raises(TypeError, match="uint16"):
        Tensor.from_numpy(np.zeros(2, np.uint16), ElementType.INT4)


class Exporter:
    """An array library that is not NumPy, of which only DLPack is known."""

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self._array = array

    def __dlpack__(self, **options: Any) -> Any:
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._array.__dlpack_device__()


@pytest.mark.parametrize(
    "dtype", ["bool", "uint8", "int16", "int64", "float16", "float32", "float64", "complex64"]
)
def test_dlpack_there_and_back(dtype: str) -> None:
    array = np.array([[0, 1, 1], [1, 0, 1]], dtype)
    tensor = Tensor.from_dlpack(Exporter(array))
    assert tensor.element_type is ElementType.from_dtype(array.dtype)
    assert np.shares_memory(tensor.numpy(), array)
    exported = np.from_dlpack(tensor)
    assert exported.dtype == array.dtype
    assert np.array_equal(exported, array)


@pytest.mark.parametrize("shape", [(), (0, 3)], ids=str)
def test_dlpack_of_no_dimensions_and_no_elements(shape: tuple[int, ...]) -> None:
    tensor = Tensor.from_dlpack(Exporter(np.ones(shape, np.float32)))
    assert np.from_dlpack(tensor).shape == tensor.shape == shape


def test_what_dlpack_exports_cannot_change_a_tensor() -> None:
    tensor = Tensor(ElementType.FLOAT, (2,), memoryview(bytes(8)))
    exported = np.from_dlpack(tensor)
    if exported.flags.writeable:
        exported[0] = 1
    assert tensor.numpy().tolist() == [0, 0]


@pytest.mark.parametrize("kind", [ElementType.BFLOAT16, ElementType.INT4, ElementType.STRING])
def test_type_that_dlpack_lacks_is_refused(kind: ElementType) -> None:
    nbytes = 16 if kind is ElementType.STRING else kind.nbytes(1)
    with pytest.raises(BufferError, match=kind.onnx_name):
        Tensor(kind, (1,), memoryview(bytes(nbytes))).__dlpack__()


def test_type_and_repr() -> None:
    tensor = Tensor.from_numpy(np.zeros((2, 0), np.float64))
    assert tensor.type == "tensor(double)"
    assert repr(tensor) == "Tensor(tensor(double), shape=[2, 0])"
    assert (tensor.size, tensor.nbytes) == (0, 0)


def test_extended_types_say_that_ml_dtypes_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    tensor = Tensor(ElementType.BFLOAT16, (2,), memoryview(b"\x80\x3f\x00\x40"))
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with pytest.raises(ImportError, match="ml_dtypes"):
        tensor.numpy()
    assert tensor.bits().tolist() == [0x3F80, 0x4000]  # the bits need nothing
