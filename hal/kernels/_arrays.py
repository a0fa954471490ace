"""The adapter between the kernel-backend base and an array type."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hal.tensor import Tensor
from hal.types import ElementType

__all__ = ["Arrays"]

Host = np.ndarray[Any, np.dtype[Any]]


class Arrays(abc.ABC):
    """What the base needs to know of an array type. Arrays are opaque to it; none is written to."""

    is_host: bool = True
    """Whether arrays are NumPy arrays in host memory; the conversions below are then identities."""

    @abc.abstractmethod
    def supports(self, element_type: ElementType) -> bool:
        """Whether arrays can hold this type."""

    @abc.abstractmethod
    def from_tensor(self, tensor: Tensor) -> Any:
        """An array of the tensor's values; it may view `tensor.data`, which may be unaligned."""

    @abc.abstractmethod
    def to_tensor(self, array: Any, element_type: ElementType) -> Tensor:
        """The array's values as a tensor of `element_type`. Raises TypeError if its dtype is none
        that holds this type."""

    @abc.abstractmethod
    def from_host(self, array: Host, element_type: ElementType) -> Any:
        """An array of a NumPy array's values."""

    @abc.abstractmethod
    def to_host(self, array: Any, element_type: ElementType | None) -> Host:
        """The values as a NumPy array of their own dtype (waits for the device)."""

    def feeder(self, element_type: ElementType) -> Callable[[Host], Any]:
        """How an input's NumPy arrays, of that native type, become arrays: `from_host`, with what
        the type decides decided once."""
        return lambda array: self.from_host(array, element_type)

    def fetcher(self, element_type: ElementType) -> Callable[[Any], Host]:
        """How an output, of that native type, becomes a NumPy array in C order that is the
        caller's. It may be a view of a constant or of an input, which is still alive."""
        return lambda array: self.to_host(array, element_type).copy()

    @abc.abstractmethod
    def shape(self, array: Any) -> tuple[int, ...]:
        """The dimensions, without waiting for the device."""

    @abc.abstractmethod
    def element_type(self, array: Any) -> ElementType | None:
        """The element type by the array's dtype; None where the dtype does not tell. Cheap."""

    def holds(self, array: Any, element_type: ElementType) -> bool:
        """Whether the array's dtype is one that holds this type; True where the dtype does not
        tell. An adapter that holds two types in one dtype says so here."""
        found = self.element_type(array)
        return found is None or found is element_type

    def from_dlpack(self, source: Any) -> Any:
        """An array over what exports DLPack, without a copy where it lies on the device already.
        Raises TypeError where arrays cannot be made of it."""
        raise TypeError(f"{type(self).__name__} takes no {type(source).__name__}")

    @abc.abstractmethod
    def take(self, array: Any, index: int, axis: int) -> Any:
        """The slice at `index` of `axis`, which is gone from the result."""

    @abc.abstractmethod
    def slice(self, array: Any, start: int, stop: int, axis: int) -> Any:
        """The part from `start` to `stop` along `axis`."""

    @abc.abstractmethod
    def stack(self, arrays: Sequence[Any], axis: int) -> Any:
        """Arrays of one shape along a new axis; at least one."""

    @abc.abstractmethod
    def concat(self, arrays: Sequence[Any], axis: int) -> Any:
        """Arrays along an existing axis; at least one."""

    @abc.abstractmethod
    def squeeze(self, array: Any, axis: int) -> Any:
        """The array without `axis`, which has size one."""

    @abc.abstractmethod
    def zeros(self, shape: Sequence[int], element_type: ElementType) -> Any:
        """Zeros (empty strings)."""

    def nbytes(self, array: Any) -> int:
        """About how many bytes the array takes; bounds what is folded."""
        return int(np.prod(self.shape(array), dtype=np.int64)) * 8
