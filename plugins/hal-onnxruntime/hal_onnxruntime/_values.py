"""Values on their way into and out of ONNX Runtime's Python API."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import onnxruntime

from hal.errors import UnfedError
from hal.tensor import MapValue, OptionalValue, SequenceValue, Tensor, Value
from hal.types import ElementType
from hal_onnxruntime import _compat

__all__ = ["as_ort_value", "feed", "is_plain", "needs_ort_values", "taken", "taken_ort_value"]

_INNER = re.compile(r"(seq|optional)\((.*)\)")
_MAP = re.compile(r"map\((\w+),tensor\((\w+)\)\)")
_ELEMENT = re.compile(r"tensor\((\w+)\)")


def is_plain(type_string: str) -> bool:
    """Whether the type is a tensor whose elements NumPy itself has, strings included."""
    found = _ELEMENT.fullmatch(type_string)
    return bool(found) and _element_type(found[1]).is_native  # type: ignore[index]


def needs_ort_values(type_string: str) -> bool:
    """Whether an output of this type cannot be read as a NumPy array: it holds a type that NumPy
    lacks."""
    return any(not _element_type(name).is_native for name in _ELEMENT.findall(type_string))


def feed(name: str, value: Value) -> Any:
    """What `InferenceSession.run` takes for a value, without a copy where the API allows.

    Raises UnfedError for what it cannot be given.
    """
    if isinstance(value, Tensor):
        if value.element_type.is_native:
            return _native(name, value)
        return as_ort_value(name, value)
    if isinstance(value, OptionalValue):
        return None if value.value is None else feed(name, value.value)
    if isinstance(value, SequenceValue):
        items = [feed(name, item) for item in value.items]
        if any(isinstance(item, onnxruntime.OrtValue) for item in items):
            raise UnfedError(f"input {name!r}: onnxruntime's Python API takes no {value.type}")
        return items
    if not value.keys.size:
        raise UnfedError(f"input {name!r}: onnxruntime's Python API takes no empty {value.type}")
    return dict(zip(value.keys.bits().tolist(), value.values.bits().tolist(), strict=True))


def as_ort_value(name: str, value: Value) -> onnxruntime.OrtValue:
    """An OrtValue over a tensor's data; UnfedError for what it cannot be made of from Python."""
    if not isinstance(value, Tensor) or value.element_type is ElementType.STRING:
        raise UnfedError(
            f"input {name!r}: onnxruntime's Python API takes no {value.type} "
            "beside an output that NumPy has no type for"
        )
    if value.element_type.bits < 8:
        # The API wants an array of the logical shape, and reads the packed bytes at its start.
        array = np.zeros(value.shape, dtype=np.uint8)
        array.reshape(-1)[: value.nbytes] = np.frombuffer(value.data, dtype=np.uint8)
    else:
        array = _native(name, value)
    try:
        return onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(
            array, int(value.element_type)
        )
    except Exception as error:  # noqa: BLE001 (pybind raises classes of its own)
        raise UnfedError(f"input {name!r}: onnxruntime takes no {value.type}: {error}") from None


def taken(type_string: str, result: Any) -> Value:
    """The value of a result of `InferenceSession.run`, whose declared type is given; UnfedError for
    one that is no value, such as a sparse tensor."""
    inner = _INNER.fullmatch(type_string)
    if inner and inner[1] == "optional":
        return OptionalValue(type_string, None if result is None else taken(inner[2], result))
    if inner:
        return SequenceValue(type_string, tuple(taken(inner[2], item) for item in result))
    mapped = _MAP.fullmatch(type_string)
    if mapped:
        keys, values = (_element_type(name) for name in mapped.groups())
        return MapValue(
            type_string,
            Tensor.from_numpy(np.array(list(result), dtype=keys.storage)),
            Tensor.from_numpy(np.array(list(result.values()), dtype=values.storage)),
        )
    if not isinstance(result, np.ndarray):
        raise UnfedError(f"HAL has no value for a {type_string} of onnxruntime")
    return Tensor.from_numpy(result)


def taken_ort_value(type_string: str, result: onnxruntime.OrtValue) -> Value:
    """The value of a result of `run_with_ort_values`; UnfedError for what Python cannot read."""
    if type_string.startswith("optional("):
        inner = type_string[len("optional(") : -1]
        return OptionalValue(
            type_string, taken_ort_value(inner, result) if result.has_value() else None
        )
    if not result.is_tensor():
        raise UnfedError(f"onnxruntime's Python API gives no {type_string} beside such outputs")
    element_type = ElementType(result.element_type())
    if element_type is ElementType.STRING:
        return Tensor.from_numpy(result.numpy())
    shape = tuple(result.shape())
    return Tensor(element_type, shape, _compat.raw_bytes(result))


def _native(name: str, value: Tensor) -> Any:
    if value.element_type in (ElementType.COMPLEX64, ElementType.COMPLEX128):
        raise UnfedError(f"input {name!r}: onnxruntime has no {value.type}")
    array = value.bits()
    if value.element_type is ElementType.STRING:
        try:
            for text in array.reshape(-1):
                text.encode()
        except UnicodeEncodeError:
            raise UnfedError(f"input {name!r}: onnxruntime takes strings of UTF-8 alone") from None
    return array


def _element_type(name: str) -> ElementType:
    return ElementType.from_onnx_name(name)
