"""A model compiled by ONNX Runtime for one execution provider."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime

from hal.arrays import BoundRun, bound_values, run_by_values
from hal.errors import ExecutionError, UnavailableError
from hal.graph import read_signature
from hal.model import Model
from hal.placement import Placement
from hal.tensor import Tensor, Value
from hal_onnxruntime._bound import BoundSession, output_buffers
from hal_onnxruntime._errors import explain
from hal_onnxruntime._placement import Record, assignment, placed
from hal_onnxruntime._values import (
    as_ort_value,
    feed,
    is_plain,
    needs_ort_values,
    taken,
    taken_ort_value,
)

__all__ = ["OrtExecutable", "open_session"]


def open_session(
    data: bytes, session_options: Any, provider: str, provider_options: Mapping[str, str] | None
) -> Any:
    """An InferenceSession on one provider, the CPU's own kernels refused where the options say so.

    `provider_options` is None where `session_options` name the provider's devices already, as
    they do for a provider from a plugin library.

    Raises the HAL error that onnxruntime's exception means, and UnavailableError when it has left
    the provider out without a word.
    """
    chosen = None if provider_options is None else [(provider, dict(provider_options))]
    try:
        session = onnxruntime.InferenceSession(
            data,
            session_options,
            providers=chosen,
            enable_fallback=False,  # or it retries on the CPU, and prints on standard output
        )
    except Exception as error:  # pybind raises classes of its own
        raise explain(error) from error
    if provider not in session.get_providers():
        raise UnavailableError(f"onnxruntime has left {provider} out of the session")
    return session


class OrtExecutable:
    """Runs one session; several threads may call `run` at once."""

    def __init__(self, session: Any, model: Model, device: str, devices: Mapping[str, str]) -> None:
        self._session: Any = session
        self._model = model
        self._device = device
        self._devices = devices
        self._types = {output.name: output.type for output in session.get_outputs()}
        self._names = list(self._types)
        self._plain = all(is_plain(t) for t in self._types.values())
        self._by_ort_value = any(needs_ort_values(t) for t in self._types.values())
        given = [*session.get_inputs(), *session.get_overridable_initializers()]
        self._by_value = self._by_ort_value or any(needs_ort_values(i.type) for i in given)

    def run(self, inputs: Mapping[str, Value]) -> dict[str, Value]:
        """Run once. Raises UnfedError for a value that onnxruntime's Python API cannot take."""
        if self._by_ort_value:
            return self._run_ort_values(inputs)
        feeds = {name: feed(name, value) for name, value in inputs.items()}
        results = self._call("run", feeds)
        if self._plain:
            return {n: Tensor.from_numpy(r) for n, r in zip(self._names, results, strict=True)}
        return {n: taken(self._types[n], r) for n, r in zip(self._names, results, strict=True)}

    def run_numpy(self, names: Sequence[str] | None, feeds: Mapping[str, Any]) -> list[Any]:
        """See `hal.NumpyExecutable`: onnxruntime's own `run`, unless NumPy lacks a type."""
        if self._by_value:
            return run_by_values(self.run, read_signature(self._model), names, feeds, shared=False)
        try:
            return self._session.run(names, feeds)  # type: ignore[no-any-return]
        except Exception as error:
            if self._session is None:
                raise ExecutionError("the executable is closed") from None
            raise explain(error) from error

    def bind(self, inputs: Mapping[str, Any]) -> BoundSession | BoundRun:
        """See `hal.BindableExecutable`. Outputs of a known shape are written over by every run."""
        if self._session is None:
            raise ExecutionError("the executable is closed")
        values = bound_values(read_signature(self._model), inputs)
        if self._by_value:
            return BoundRun(self._names, functools.partial(self.run_numpy, None, values))
        feeds = {name: feed(name, value) for name, value in values.items()}
        plain = all(isinstance(f, np.ndarray) and f.dtype != object for f in feeds.values())
        buffers = output_buffers(self._session.get_outputs()) if plain else None
        if buffers is None:
            return BoundRun(self._names, functools.partial(self.run_numpy, None, feeds))
        return BoundSession(self._session, feeds, buffers)

    def _run_ort_values(self, inputs: Mapping[str, Value]) -> dict[str, Value]:
        feeds = {name: as_ort_value(name, value) for name, value in inputs.items()}
        results = self._call("run_with_ort_values", feeds)
        return {
            n: taken_ort_value(self._types[n], r) for n, r in zip(self._names, results, strict=True)
        }

    def _call(self, method: str, feeds: Mapping[str, Any]) -> Any:
        if self._session is None:
            raise ExecutionError("the executable is closed")
        try:
            return getattr(self._session, method)(self._names, feeds)
        except Exception as error:  # pybind raises classes of its own
            raise explain(error) from error

    def placement(self) -> Placement:
        """Where each node ran, by onnxruntime's own record of its assignment."""
        records: tuple[Record, ...] = assignment(self._session)
        return placed(self._model, records, self._device, self._devices)

    def close(self) -> None:
        """Let the session go; its memory is freed with it."""
        self._session = None
