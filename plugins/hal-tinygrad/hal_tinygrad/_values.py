"""Values on their way into and out of tinygrad."""

from __future__ import annotations

from typing import Any

import numpy as np

from hal.errors import UnfedError
from hal.tensor import OptionalValue, SequenceValue, Tensor, Value
from hal.types import ElementType
from hal_tinygrad import _compat

__all__ = ["given", "taken"]

_DTYPES = {
    ElementType.FLOAT: "float32",
    ElementType.DOUBLE: "float64",
    ElementType.FLOAT16: "float16",
    ElementType.BFLOAT16: "bfloat16",
    ElementType.BOOL: "bool",
    **{
        kind: kind.onnx_name
        for kind in (
            ElementType.INT8,
            ElementType.INT16,
            ElementType.INT32,
            ElementType.INT64,
            ElementType.UINT8,
            ElementType.UINT16,
            ElementType.UINT32,
            ElementType.UINT64,
        )
    },
}
_ELEMENT_TYPES = {getattr(_compat.dtypes, name): kind for kind, name in _DTYPES.items()}


def given(name: str, value: Value) -> Any:
    """What tinygrad's runner takes for an input. Raises UnfedError for types that it lacks."""
    if isinstance(value, OptionalValue):
        return None if value.value is None else given(name, value.value)
    if isinstance(value, SequenceValue):
        return [given(name, item) for item in value.items]
    if not isinstance(value, Tensor) or value.element_type not in _DTYPES:
        raise UnfedError(f"input {name!r}: tinygrad takes no {value.type}")
    dtype = getattr(_compat.dtypes, _DTYPES[value.element_type])
    bits = np.array(value.bits(), order="C")  # a copy: tinygrad wants memory that it may write
    if value.element_type is ElementType.BFLOAT16:
        return _compat.Tensor(bits.view(np.uint16)).bitcast(dtype)
    return _compat.Tensor(bits, dtype=dtype)


def taken(name: str, value: Any, type_: str) -> Value:
    """The value of an output whose type the model declares as `type_`."""
    if value is None or type_.startswith("optional("):
        inner = type_[9:-1]
        return OptionalValue(type_, None if value is None else taken(name, value, inner))
    if isinstance(value, (list, tuple)) or type_.startswith("seq("):
        inner = type_[4:-1]
        items = tuple(taken(name, item, inner) for item in value)
        return SequenceValue(type_ if inner or not items else f"seq({items[0].type})", items)
    if not isinstance(value, _compat.Tensor):
        value = _compat.Tensor(value)
    kind = _ELEMENT_TYPES.get(value.dtype)
    if kind is None:
        raise UnfedError(f"output {name!r}: tinygrad gives {value.dtype}, which ONNX has not")
    if kind is ElementType.BFLOAT16:
        bits = value.bitcast(_compat.dtypes.uint16).numpy()
        return Tensor(kind, tuple(bits.shape), memoryview(bits.tobytes()))
    return Tensor.from_numpy(value.numpy())
