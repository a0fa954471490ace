"""Values at the border of an executable: what is fed is checked, what comes out is wrapped."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from hal.errors import UsageError
from hal.graph import Dim
from hal.kernels._arrays import Arrays
from hal.kernels._program import element_type_of
from hal.tensor import MapValue, OptionalValue, SequenceValue, Tensor, Value
from hal.types import ElementType

__all__ = ["InputSpec", "from_value", "to_value"]


@dataclasses.dataclass(frozen=True)
class InputSpec:
    """What the model declares of an input."""

    name: str
    type: str
    shape: tuple[Dim, ...] | None

    @property
    def optional(self) -> bool:
        return self.type.startswith("optional(")

    @property
    def described(self) -> str:
        """The type with its shape, e.g. "tensor(float)[batch, 3]"."""
        if self.shape is None:
            return self.type or "any type"
        return f"{self.type}[{', '.join('?' if d is None else str(d) for d in self.shape)}]"

    def check(self, value: Value | None) -> None:
        """Raise UsageError, expected against got, unless the value is what the model declares."""
        if not self.type or (value is None and self.optional):
            return
        if isinstance(value, Tensor):
            if value.type == self.type:
                if self.shape is None or self._fits(value.shape):
                    return
            elif self.optional and self.type == f"optional({value.type})":
                return
            got = f"{value.type}{list(value.shape)}"
        elif isinstance(value, (SequenceValue, OptionalValue, MapValue)):
            given = value.type.replace(" ", "")
            own = self.type.replace(" ", "")
            if given in (own, own.removeprefix("optional(")[:-1]):
                return
            got = value.type
        else:
            got = type(value).__name__
        raise UsageError(f"input {self.name!r}: expected {self.described}, got {got}")

    def check_array(self, arrays: Arrays, array: Any) -> None:
        """Raise UsageError, expected against got, unless the array is what is declared."""
        shape = arrays.shape(array)
        element_type = element_type_of(self.type[9:-1] if self.optional else self.type)
        if element_type is None and self.type:
            raise UsageError(f"input {self.name!r}: expected {self.described}, got an array")
        held = element_type is None or arrays.holds(array, element_type)
        if not held or not self._fits(shape):
            found = arrays.element_type(array)
            name = f"tensor({found.onnx_name})" if found is not None else "an array"
            raise UsageError(
                f"input {self.name!r}: expected {self.described}, got {name}{list(shape)}"
            )

    def fits(self, array: Any) -> bool:
        """Whether an array has the declared shape."""
        return self.shape is None or array.shape == self.shape or self._fits(array.shape)

    def _fits(self, shape: tuple[int, ...]) -> bool:
        if self.shape is None or len(self.shape) != len(shape):
            return self.shape is None
        for expected, got in zip(self.shape, shape, strict=False):
            if isinstance(expected, int) and expected != got:
                return False
        return True


def from_value(arrays: Arrays, value: Value | None) -> Any:
    """A HAL value as kernels take it: an array, a list, a dict, or None."""
    if value is None:
        return None
    if isinstance(value, Tensor):
        return arrays.from_tensor(value)
    if isinstance(value, SequenceValue):
        return [from_value(arrays, item) for item in value.items]
    if isinstance(value, OptionalValue):
        return from_value(arrays, value.value)
    return dict(zip(value.keys.bits().tolist(), value.values.bits().tolist(), strict=False))


def to_value(arrays: Arrays, item: Any, type_: str) -> Value:
    """What a program returned as a HAL value of the given type string.

    Raises TypeError or ValueError when it is no such value.
    """
    element_type = element_type_of(type_)
    if element_type is not None:
        return arrays.to_tensor(item, element_type)
    if type_.startswith("optional("):
        inner = type_[len("optional(") : -1]
        return OptionalValue(type_, None if item is None else to_value(arrays, item, inner))
    if type_.startswith("seq("):
        inner = type_[len("seq(") : -1]
        if not isinstance(item, (list, tuple)):
            raise TypeError(f"a {type(item).__name__}, expected a list")
        return SequenceValue(type_, tuple(to_value(arrays, i, inner) for i in item))
    if type_.startswith("map("):
        return _map_value(item, type_)
    guessed = arrays.element_type(item)
    if guessed is None:
        raise TypeError(f"a {type(item).__name__} of unknown type")
    return arrays.to_tensor(item, guessed)


def _map_value(item: Any, type_: str) -> MapValue:
    if not isinstance(item, Mapping):
        raise TypeError(f"a {type(item).__name__}, expected a dict")
    key, _, value = type_[len("map(") : -1].partition(",")
    value = value.strip().removeprefix("tensor(").removesuffix(")")
    tensors = []
    for name, items in ((key.strip(), list(item.keys())), (value, list(item.values()))):
        element_type = ElementType.from_onnx_name(name)
        array = np.array(items, dtype=element_type.dtype())
        tensors.append(Tensor.from_numpy(array, element_type))
    return MapValue(type_, tensors[0], tensors[1])
