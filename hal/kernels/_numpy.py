"""NumPy arrays as the array type of a kernel backend."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any

import numpy as np

from hal.kernels._arrays import Arrays, Host
from hal.tensor import Tensor
from hal.types import ElementType

__all__ = ["NumpyArrays"]


class NumpyArrays(Arrays):
    """NumPy arrays; types that NumPy lacks (bfloat16, float8, int4 ...) by ml_dtypes where it is
    installed, else unsupported. Strings are object arrays of str."""

    def supports(self, element_type: ElementType) -> bool:
        if element_type.is_native:
            return True
        if importlib.util.find_spec("ml_dtypes") is None:
            return False
        try:
            element_type.dtype()
        except AttributeError:  # an older ml_dtypes without this type
            return False
        return True

    def from_tensor(self, tensor: Tensor) -> Host:
        return tensor.numpy()

    def to_tensor(self, array: Any, element_type: ElementType) -> Tensor:
        array = np.asarray(array)
        dtype = element_type.dtype()
        if element_type is ElementType.STRING:
            if array.dtype.kind not in "OUT":
                raise TypeError(f"a NumPy array of {array.dtype}, expected strings")
        elif array.dtype != dtype:
            raise TypeError(f"a NumPy array of {array.dtype}, expected {dtype}")
        return Tensor.from_numpy(array, element_type)

    def from_host(self, array: Host, element_type: ElementType) -> Host:
        return array

    def to_host(self, array: Any, element_type: ElementType | None) -> Host:
        return np.asarray(array)

    def from_dlpack(self, source: Any) -> Host:
        return source if isinstance(source, np.ndarray) else np.from_dlpack(source)

    def shape(self, array: Any) -> tuple[int, ...]:
        return np.shape(array)

    def element_type(self, array: Any) -> ElementType | None:
        return ElementType.from_dtype(array.dtype) if hasattr(array, "dtype") else None

    def take(self, array: Any, index: int, axis: int) -> Host:
        return np.asarray(np.take(array, index, axis=axis))

    def slice(self, array: Any, start: int, stop: int, axis: int) -> Host:
        at: list[slice] = [slice(None)] * array.ndim
        at[axis] = slice(start, stop)
        return np.asarray(array[tuple(at)])

    def stack(self, arrays: Sequence[Any], axis: int) -> Host:
        return np.stack(arrays, axis=axis)

    def concat(self, arrays: Sequence[Any], axis: int) -> Host:
        return np.concatenate(arrays, axis=axis)

    def squeeze(self, array: Any, axis: int) -> Host:
        return np.asarray(np.squeeze(array, axis=axis))

    def zeros(self, shape: Sequence[int], element_type: ElementType) -> Host:
        if element_type is ElementType.STRING:
            return np.full(tuple(shape), "", dtype=object)
        return np.zeros(tuple(shape), dtype=element_type.dtype())

    def nbytes(self, array: Any) -> int:
        return int(np.asarray(array).nbytes)
