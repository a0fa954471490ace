"""Element types: names, numbers, sizes and bytes are those of ONNX, for every type."""

from __future__ import annotations

import math
import re
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from hal import ElementType, Tensor

TYPES = tuple(ElementType)
NUMERIC = tuple(t for t in TYPES if t is not ElementType.STRING)
EXTENDED = tuple(t for t in TYPES if not t.is_native)
by_name = pytest.mark.parametrize("kind", TYPES, ids=lambda t: t.onnx_name)
numeric = pytest.mark.parametrize("kind", NUMERIC, ids=lambda t: t.onnx_name)
extended = pytest.mark.parametrize("kind", EXTENDED, ids=lambda t: t.onnx_name)


def octets_of(kind: ElementType, count: int) -> bytes:
    """`count` elements with random bits in each that is valid for the type."""
    rng = np.random.default_rng(kind)
    if kind is ElementType.BOOL:
        return rng.integers(0, 2, count, np.uint8).tobytes()
    octets = rng.integers(0, 256, kind.nbytes(count), np.uint8)
    spare = 8 * octets.size - count * kind.bits
    if spare:
        octets[-1] &= 0xFF >> spare  # the bits behind the last element are zero
    return octets.tobytes()


def same_bits(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def test_numbers_and_names_are_those_of_the_data_type_enum() -> None:
    onnx_types = {n: v for n, v in TensorProto.DataType.items() if n != "UNDEFINED"}
    assert {t.name: int(t) for t in TYPES} == onnx_types


def test_type_strings_are_those_of_the_operator_schemas() -> None:
    known = {f"tensor({t.onnx_name})" for t in TYPES}
    used = {
        text
        for schema in onnx.defs.get_all_schemas()
        for constraint in schema.type_constraints
        for text in constraint.allowed_type_strs
        if text.startswith("tensor(")
    }
    assert used <= known
    assert len(used) > 20


@by_name
def test_name_there_and_back(kind: ElementType) -> None:
    assert ElementType.from_onnx_name(kind.onnx_name) is kind
    with pytest.raises(KeyError):
        ElementType.from_onnx_name(kind.onnx_name + "x")


@by_name
def test_dtype_there_and_back(kind: ElementType) -> None:
    assert ElementType.from_dtype(kind.dtype()) is kind


@by_name
def test_dtype_is_that_of_onnx(kind: ElementType) -> None:
    assert kind.dtype() == helper.tensor_dtype_to_np_dtype(kind)


@pytest.mark.parametrize("dtype", ["datetime64[s]", "V4", "timedelta64[s]", "S3"])
def test_dtype_that_onnx_lacks_says_so(dtype: str) -> None:
    with pytest.raises(TypeError, match=re.escape(np.dtype(dtype).name)):
        ElementType.from_dtype(np.dtype(dtype))


@pytest.mark.parametrize("dtype", ["O", "<U3"])
def test_texts_are_strings(dtype: str) -> None:
    assert ElementType.from_dtype(np.dtype(dtype)) is ElementType.STRING


@numeric
@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 8])
def test_packed_size_is_that_of_raw_data(kind: ElementType, count: int) -> None:
    array = np.zeros(count, kind.dtype())
    assert kind.nbytes(count) == len(numpy_helper.from_array(array).raw_data)


@numeric
def test_bits_fit_the_storage(kind: ElementType) -> None:
    assert kind.bits <= 8 * kind.storage.itemsize
    assert kind.is_native is (kind.storage == kind.dtype())
    assert kind.dtype().itemsize == kind.storage.itemsize


def test_strings_have_no_fixed_size() -> None:
    assert ElementType.STRING.bits == 0
    assert ElementType.STRING.is_native


@numeric
@pytest.mark.parametrize("shape", [(2, 3), (7,), (), (0, 3)], ids=str)
def test_raw_data_becomes_the_values_that_onnx_reads(
    kind: ElementType, shape: tuple[int, ...]
) -> None:
    raw = octets_of(kind, math.prod(shape))
    proto = TensorProto(data_type=kind, dims=shape, raw_data=raw)
    tensor = Tensor(kind, shape, memoryview(raw))
    assert same_bits(tensor.numpy(), numpy_helper.to_array(proto))


@numeric
@pytest.mark.parametrize("shape", [(2, 3), (7,), (), (0, 3)], ids=str)
def test_values_become_the_raw_data_that_onnx_writes(
    kind: ElementType, shape: tuple[int, ...]
) -> None:
    raw = octets_of(kind, math.prod(shape))
    values = Tensor(kind, shape, memoryview(raw)).numpy()
    tensor = Tensor.from_numpy(values)
    assert (tensor.element_type, tensor.shape) == (kind, shape)
    assert bytes(tensor.data) == numpy_helper.from_array(values).raw_data == raw


@numeric
def test_numbers_of_make_tensor_are_read_alike(kind: ElementType) -> None:
    numbers = [1, 2, 1, 1, 2] if kind is ElementType.FLOAT8E8M0 else [0, 1, 1, 0, 1]
    proto = helper.make_tensor("t", kind, [5], numbers)
    tensor = Tensor.from_numpy(numpy_helper.to_array(proto))
    assert tensor.element_type is kind
    assert tensor.numpy().astype(np.complex64).tolist() == numbers


@extended
def test_bit_patterns_are_taken_as_the_named_type(kind: ElementType) -> None:
    raw = octets_of(kind, 9)
    bits = Tensor(kind, (9,), memoryview(raw)).bits()
    assert bits.dtype == kind.storage
    again = Tensor.from_numpy(np.array(bits), kind)
    assert again.element_type is kind
    assert bytes(again.data) == raw


@pytest.mark.parametrize("kind", [ElementType.INT4, ElementType.INT2], ids=lambda t: t.onnx_name)
def test_small_signed_integers_keep_their_sign(kind: ElementType) -> None:
    low, high = ml_dtypes.iinfo(kind.dtype()).min, ml_dtypes.iinfo(kind.dtype()).max
    numbers = np.arange(low, high + 1)
    tensor = Tensor.from_numpy(numbers.astype(kind.dtype()))
    assert tensor.nbytes == kind.nbytes(numbers.size)
    assert tensor.numpy().astype(np.int64).tolist() == numbers.tolist()
