"""An executable with its inputs in place: what is left of a run is the program itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hal.errors import UsageError
from hal.kernels._arrays import Arrays
from hal.kernels._feeds import InputSpec, from_value
from hal.tensor import MapValue, OptionalValue, SequenceValue, Tensor

__all__ = ["Bound", "bound_values"]


class Bound:
    """See `hal.backend.BoundExecutable`."""

    __slots__ = ("_call", "_values", "names")

    def __init__(
        self,
        call: Callable[[list[Any]], tuple[Any, ...]],
        values: Sequence[Any],
        names: Sequence[str],
    ) -> None:
        self._call = call
        self._values = tuple(values)
        self.names = tuple(names)

    def run(self) -> tuple[Any, ...]:
        """The outputs as arrays of the adapter. Raises ExecutionError as the executable does."""
        return self._call([*self._values])


def bound_values(
    arrays: Arrays, specs: Sequence[InputSpec], inputs: Mapping[str, Any]
) -> list[Any]:
    """The arrays of inputs that are Values or export DLPack. Raises UsageError, expected against
    got, for one that is not what the model declares."""
    values = []
    for spec in specs:
        given = inputs.get(spec.name)
        if given is None or isinstance(given, (Tensor, SequenceValue, OptionalValue, MapValue)):
            spec.check(given)
            values.append(from_value(arrays, given))
            continue
        try:
            array = arrays.from_dlpack(given)
        except (TypeError, ValueError, BufferError, RuntimeError) as error:
            raise UsageError(
                f"input {spec.name!r}: a {type(given).__name__} cannot be taken over: {error}"
            ) from error
        spec.check_array(arrays, array)
        values.append(array)
    return values
