"""NumPy arrays for HAL's values and back, by a model's declared types.

A tensor is an array (types that NumPy lacks by ml_dtypes, strings as an object array of str), a
sequence a list, a map a dict, an optional its value or None: what `hal.Session` takes and gives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from hal.errors import ExecutionError, HalError, UnfedError, UsageError, did_you_mean
from hal.graph import Signature, ValueInfo
from hal.tensor import MapValue, OptionalValue, SequenceValue, Tensor, Value

__all__ = [
    "BoundRun",
    "array_of",
    "bound_values",
    "check_feeds",
    "run_by_values",
    "value_of",
]


def value_of(info: ValueInfo, given: Any) -> Value:
    """The value that a graph input of that declaration gets. Raises UsageError, expected against
    got, for an array or an object that is something else."""
    from hal.kernels import NumpyArrays  # here, because the fast path does without
    from hal.kernels._feeds import InputSpec, to_value

    spec = InputSpec(info.name, info.type, info.shape)
    if isinstance(given, (Tensor, SequenceValue, OptionalValue, MapValue)):
        value = given
    else:
        if not info.type or info.type.startswith("tensor("):
            given = _plain(np.asarray(given))
        try:
            value = to_value(NumpyArrays(), given, info.type)
        except (TypeError, ValueError, AttributeError, KeyError) as error:
            got = f"{given.dtype}{list(given.shape)}" if isinstance(given, np.ndarray) else error
            raise UsageError(f"input {info.name!r}: expected {spec.described}, got {got}") from None
        except ImportError as error:
            raise UnfedError(
                f"input {info.name!r}: {info.type} needs {error.name}",
                next_step=f"pip install {error.name}",
            ) from None
    spec.check(value)
    return value


def array_of(value: Value, *, shared: bool = True) -> Any:
    """A value as arrays, lists, dicts and None; arrays are the caller's, to write to. They are
    copied where the value's memory may be `shared` with someone, such as a model's constants.

    Raises UnfedError where a type that NumPy lacks needs ml_dtypes, which is not installed.
    """
    if isinstance(value, Tensor):
        try:
            array = value.numpy()
        except ImportError as error:
            raise UnfedError(
                f"{value.type} needs {error.name}", next_step=f"pip install {error.name}"
            ) from None
        return array.copy() if shared else _writeable(array)
    if isinstance(value, SequenceValue):
        return [array_of(item, shared=shared) for item in value.items]
    if isinstance(value, OptionalValue):
        return None if value.value is None else array_of(value.value, shared=shared)
    return dict(zip(value.keys.bits().tolist(), value.values.bits().tolist(), strict=True))


def run_by_values(
    run: Callable[[Mapping[str, Value]], Mapping[str, Value]],
    signature: Signature,
    names: Sequence[str] | None,
    feeds: Mapping[str, Any],
    *,
    shared: bool = True,
) -> list[Any]:
    """What `hal.Session.run` does, over an executable's `run`; `shared` is that of `array_of`.

    Raises UsageError for feeds and names that the signature does not have.
    """
    known = {info.name: info for info in (*signature.inputs, *signature.defaults)}
    _check_names(signature, names, feeds)
    values = {
        name: value_of(known[name], given)
        for name, given in feeds.items()
        if given is not None or not known[name].type.startswith("optional(")
    }
    results = run(values)
    wanted = names or [info.name for info in signature.outputs]
    try:
        return [array_of(results[name], shared=shared) for name in wanted]
    except KeyError as error:
        raise ExecutionError(f"the backend gave no output {error}") from None


def check_feeds(
    signature: Signature, names: Sequence[str] | None, feeds: Mapping[str, Any]
) -> None:
    """Raise UsageError, naming what is wrong, unless these feeds and output names fit."""
    _check_names(signature, names, feeds)
    for info in (*signature.inputs, *signature.defaults):
        if info.name in feeds and feeds[info.name] is not None:
            try:
                value_of(info, feeds[info.name])
            except UsageError:
                raise
            except HalError:
                continue


class BoundRun:
    """See `hal.backend.BoundExecutable`: inputs in place where every run makes new outputs."""

    def __init__(self, names: Sequence[str], run: Callable[[], Sequence[Any]]) -> None:
        self.names: Sequence[str] = tuple(names)
        self.run = run


def bound_values(signature: Signature, inputs: Mapping[str, Any]) -> dict[str, Value]:
    """The values over the memory of what `hal.BindableExecutable.bind` is given, where the layout
    allows. Raises UsageError, expected against got, for what does not fit the signature."""
    _check_names(signature, None, inputs)
    found: dict[str, Value] = {}
    for info in (*signature.inputs, *signature.defaults):
        given = inputs.get(info.name)
        if given is None:
            continue
        if hasattr(given, "__dlpack__") and not isinstance(given, np.ndarray):
            try:
                given = np.from_dlpack(given)
            except (TypeError, ValueError, BufferError, RuntimeError) as error:
                raise UsageError(
                    f"input {info.name!r}: a {type(given).__name__} cannot be taken over: {error}"
                ) from error
        found[info.name] = value_of(info, given)
    return found


def _check_names(
    signature: Signature, names: Sequence[str] | None, feeds: Mapping[str, Any]
) -> None:
    if not isinstance(feeds, Mapping):
        raise UsageError(f"feeds are a dict of arrays by input name, got a {type(feeds).__name__}")
    known = [info.name for info in (*signature.inputs, *signature.defaults)]
    for name in feeds:
        if name not in known:
            raise UsageError(
                f"the model has no input {name!r}.{did_you_mean(str(name), known)} "
                f"It has {_listed(known)}."
            )
    missing = [
        info.name
        for info in signature.inputs
        if info.name not in feeds and not info.type.startswith("optional(")
    ]
    if missing:
        raise UsageError(f"no value for input {_listed(missing)}")
    outputs = [info.name for info in signature.outputs]
    if isinstance(names, str):
        raise UsageError(f"output names are a list or None, got the text {names!r}")
    for name in names or ():
        if name not in outputs:
            raise UsageError(
                f"the model has no output {name!r}.{did_you_mean(str(name), outputs)} "
                f"It has {_listed(outputs)}."
            )


def _plain(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The array with strings as Python objects, which is how HAL and onnxruntime hold them."""
    strings: np.ndarray[Any, Any] = array.astype(object) if array.dtype.kind in "US" else array
    return strings


def _writeable(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    try:
        array.flags.writeable = True
    except ValueError:  # a view of memory that is not to be written to
        array = array.copy()
    return array


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(n) for n in names[:8])
    return (shown or "none") + (f" and {len(names) - 8} more" if len(names) > 8 else "")
