"""A session with its inputs in place, and its outputs where the runtime can be told to write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime

from hal.types import ElementType
from hal_onnxruntime._errors import explain
from hal_onnxruntime._values import is_plain

__all__ = ["BoundSession", "output_buffers"]


class BoundSession:
    """See `hal.backend.BoundExecutable`: an IO binding over arrays in this process's memory."""

    def __init__(
        self, session: Any, feeds: Mapping[str, Any], outputs: Mapping[str, np.ndarray[Any, Any]]
    ) -> None:
        self.names: Sequence[str] = tuple(outputs)
        self._session = session
        self._outputs = list(outputs.values())
        self._binding = binding = session.io_binding()
        self._held: list[Any] = [feeds]  # the binding keeps no hold of an array's memory
        for name, array in feeds.items():
            value = onnxruntime.OrtValue.ortvalue_from_numpy(array)
            self._held.append(value)
            binding.bind_ortvalue_input(name, value)
        for name, array in outputs.items():
            value = onnxruntime.OrtValue.ortvalue_from_numpy(array)
            self._held.append(value)
            binding.bind_ortvalue_output(name, value)

    def run(self) -> list[np.ndarray[Any, Any]]:
        """The same arrays every time, written over."""
        try:
            self._session.run_with_iobinding(self._binding)
        except Exception as error:  # pybind raises classes of its own
            raise explain(error) from error
        return self._outputs


def output_buffers(outputs: Sequence[Any]) -> dict[str, np.ndarray[Any, Any]] | None:
    """Memory for the outputs that a session lists; None where a type or a shape leaves it open:
    strings, sequences, types that NumPy lacks."""
    found = {}
    for info in outputs:
        dtype = _dtype(info.type)
        if dtype is None or not all(isinstance(d, int) for d in info.shape):
            return None
        found[info.name] = np.empty(tuple(info.shape), dtype)
    return found


def _dtype(type_string: str) -> np.dtype[Any] | None:
    if not is_plain(type_string):
        return None
    element_type = ElementType.from_onnx_name(type_string[len("tensor(") : -1])
    return None if element_type is ElementType.STRING else element_type.storage
