"""The short way of NumPy arrays through a program, without HAL's own values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from hal.errors import UsageError, did_you_mean
from hal.kernels._arrays import Arrays
from hal.kernels._feeds import InputSpec
from hal.kernels._program import element_type_of
from hal.types import ElementType

__all__ = ["Direct", "direct"]


class Direct:
    """Feeds and fetches a program whose inputs and outputs are all of types that NumPy has."""

    def __init__(
        self,
        arrays: Arrays,
        call: Callable[[list[Any]], tuple[Any, ...]],
        inputs: Sequence[tuple[InputSpec, ElementType]],
        outputs: Sequence[tuple[str, ElementType]],
    ) -> None:
        self._call = call
        self._inputs = [(spec, spec.name, e.storage, arrays.feeder(e)) for spec, e in inputs]
        self._fetchers = [arrays.fetcher(e) for _, e in outputs]
        self._names = [name for name, _ in outputs]

    def run(self, names: Sequence[str] | None, feeds: Mapping[str, Any]) -> list[Any]:
        """Run over feeds whose names are right. Raises UsageError for the rest, and for names."""
        values = []
        for spec, name, dtype, feed in self._inputs:
            array = feeds[name]
            if not isinstance(array, np.ndarray) or array.dtype != dtype or not spec.fits(array):
                got = f"{array.dtype}{list(array.shape)}" if hasattr(array, "dtype") else array
                raise UsageError(f"input {name!r}: expected {spec.described}, got {got}")
            values.append(feed(array))
        for name in names or ():
            if name not in self._names:
                raise UsageError(
                    f"the model has no output {name!r}.{did_you_mean(name, self._names)}"
                )
        results = self._call([*values])  # a list of its own, which it empties
        if len(results) == 1 and not names:
            return [self._fetchers[0](results[0])]
        found: dict[str, Any] = {}
        seen: set[int] = set()
        for name, fetch, result in zip(self._names, self._fetchers, results, strict=True):
            # One array may be two outputs; the caller's are apart.
            found[name] = fetch(result).copy() if id(result) in seen else fetch(result)
            seen.add(id(result))
        return [found[name] for name in names or self._names]


def direct(
    arrays: Arrays,
    call: Callable[[list[Any]], tuple[Any, ...]],
    inputs: Sequence[InputSpec],
    outputs: Sequence[tuple[str, str]],
) -> Direct | None:
    """The short way of a program; None where a type is not NumPy's own."""
    taken = [(spec, element_type_of(spec.type)) for spec in inputs]
    given = [(name, element_type_of(type_)) for name, type_ in outputs]
    for _, element_type in (*taken, *given):
        if element_type is None or element_type is ElementType.STRING or not element_type.is_native:
            return None
    return Direct(arrays, call, taken, given)  # type: ignore[arg-type]  # none of them is None
