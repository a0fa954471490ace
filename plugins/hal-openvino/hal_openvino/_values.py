"""Tensors on their way into and out of OpenVINO."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from hal.errors import UnfedError
from hal.tensor import Tensor, Value
from hal.types import ElementType
from hal_openvino._compat import openvino

__all__ = ["copied", "feed", "over", "plain_dtype", "taken", "type_string"]

_NAMES = {
    ElementType.FLOAT: "f32",
    ElementType.UINT8: "u8",
    ElementType.INT8: "i8",
    ElementType.UINT16: "u16",
    ElementType.INT16: "i16",
    ElementType.INT32: "i32",
    ElementType.INT64: "i64",
    ElementType.STRING: "string",
    ElementType.BOOL: "boolean",
    ElementType.FLOAT16: "f16",
    ElementType.DOUBLE: "f64",
    ElementType.UINT32: "u32",
    ElementType.UINT64: "u64",
    ElementType.BFLOAT16: "bf16",
    ElementType.FLOAT8E4M3FN: "f8e4m3",
    ElementType.FLOAT8E5M2: "f8e5m2",
    ElementType.FLOAT8E8M0: "f8e8m0",
    ElementType.FLOAT4E2M1: "f4e2m1",
    ElementType.UINT4: "u4",
    ElementType.INT4: "i4",
    ElementType.UINT2: "u2",
}
_TENSOR = re.compile(r"tensor\((\w+)\)")
_ELEMENT_TYPES = {name: element_type for element_type, name in _NAMES.items()}


def feed(name: str, value: Value) -> Any:
    """An OpenVINO tensor over a tensor's data, which it does not copy (strings apart).

    Raises UnfedError for sequences, optionals, maps and element types that OpenVINO has not.
    """
    if not isinstance(value, Tensor) or value.element_type not in _NAMES:
        raise UnfedError(f"input {name!r}: OpenVINO's API takes no {value.type}")
    shape = list(value.shape)
    kind = getattr(openvino.Type, _NAMES[value.element_type])
    if value.element_type is ElementType.STRING:
        tensor = openvino.Tensor(kind, shape)
        if value.size:
            tensor.str_data = _strings(name, value)
        return tensor
    if not value.nbytes:
        return openvino.Tensor(kind, shape)
    return openvino.Tensor(np.frombuffer(value.data, dtype=np.uint8), shape, kind)


def taken(name: str, tensor: Any) -> Tensor:
    """The value of an output tensor, copied: its memory is the request's, which is used again.

    Raises UnfedError for an element type that ONNX has not.
    """
    kind = tensor.element_type.get_type_name()
    if kind not in _ELEMENT_TYPES:
        raise UnfedError(f"output {name!r}: OpenVINO gives {kind}, which ONNX has not")
    element_type = _ELEMENT_TYPES[kind]
    shape = tuple(tensor.shape)
    if element_type is ElementType.STRING:
        return Tensor.from_numpy(np.array(tensor.str_data, dtype=object).reshape(shape))
    if not tensor.byte_size:
        return Tensor(element_type, shape, memoryview(b""))
    return Tensor(element_type, shape, memoryview(tensor.data.tobytes()))


def plain_dtype(type_: str) -> np.dtype[Any] | None:
    """The dtype of a tensor type string whose elements NumPy and OpenVINO both have, strings
    apart; None for any other type."""
    found = _TENSOR.fullmatch(type_)
    element_type = ElementType.from_onnx_name(found[1]) if found else ElementType.STRING
    known = element_type.is_native and element_type in _NAMES
    return element_type.storage if known and element_type is not ElementType.STRING else None


def over(array: Any, port: Any) -> Any:
    """An OpenVINO tensor over an array of a dtype that it has; a copy unless it is in C order and
    may be written, since OpenVINO takes no other memory."""
    if not (array.flags.c_contiguous and array.flags.writeable):
        array = np.array(array, order="C")
    if not array.size:
        return openvino.Tensor(port.element_type, list(array.shape))
    return openvino.Tensor(array, shared_memory=True)


def copied(tensor: Any) -> np.ndarray[Any, Any]:
    """The array of an output tensor, copied: its memory is the request's, which is used again."""
    array: np.ndarray[Any, Any] = tensor.data.copy()
    return array


def type_string(kind: Any) -> str:
    """The ONNX type string of an OpenVINO element type, "" for one that ONNX has not."""
    element_type = _ELEMENT_TYPES.get(kind.get_type_name())
    return f"tensor({element_type.onnx_name})" if element_type else ""


def _strings(name: str, value: Tensor) -> np.ndarray[Any, Any]:
    strings = value.bits()
    for text in strings.flat:
        # The API takes NumPy's strings of fixed width, which end at their last character that is
        # not NUL.
        if text.endswith("\0"):
            raise UnfedError(f"input {name!r}: OpenVINO's API takes no string that ends in NUL")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise UnfedError(f"input {name!r}: OpenVINO takes strings of UTF-8 alone") from None
    return strings.astype(np.str_)
