"""HAL's words as JSON. Tensor data travels beside it, as numbered parts.

What comes from the other end is checked: anything malformed raises ProtocolError.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from typing import Any

from hal import errors
from hal.backend import Support, UnsupportedNode
from hal.device import Device
from hal.errors import ProtocolError
from hal.outcome import Outcome
from hal.placement import Evidence, NodePlacement, Placement
from hal.suite import Verdict
from hal.tensor import MapValue, OptionalValue, SequenceValue, Tensor, Value
from hal.types import ElementType

__all__ = [
    "pack_device",
    "pack_error",
    "pack_placement",
    "pack_support",
    "pack_value",
    "pack_values",
    "pack_verdict",
    "unpack_device",
    "unpack_error",
    "unpack_placement",
    "unpack_support",
    "unpack_value",
    "unpack_values",
    "unpack_verdict",
]

_MESSAGE_LIMIT = 16 << 10
_TRACEBACK_LIMIT = 32 << 10
_EMPTY = memoryview(b"")
_ELEMENT_TYPES = {int(e): e for e in ElementType}
_MALFORMED = (TypeError, ValueError, KeyError, IndexError, AttributeError, RecursionError)


def pack_value(value: Value, parts: list[memoryview]) -> list[Any]:
    """A value as JSON; its data is appended to `parts`. Raises TypeError for what is no value."""
    if isinstance(value, Tensor):
        parts.append(_octets(value.data))
        return ["t", int(value.element_type), value.shape, len(parts) - 1]
    if isinstance(value, SequenceValue):
        return ["s", value.type, [pack_value(item, parts) for item in value.items]]
    if isinstance(value, OptionalValue):
        return ["o", value.type, None if value.value is None else pack_value(value.value, parts)]
    if isinstance(value, MapValue):
        return ["m", value.type, pack_value(value.keys, parts), pack_value(value.values, parts)]
    raise TypeError(
        f"{type(value).__name__} is no value: a Tensor, SequenceValue, OptionalValue or MapValue"
    )


def pack_values(values: Mapping[str, Value], parts: list[memoryview]) -> dict[str, Any]:
    """Values by name as JSON; raises TypeError that names the one that is no value."""
    packed = {}
    for name, value in values.items():
        try:
            packed[str(name)] = pack_value(value, parts)
        except TypeError as error:
            raise TypeError(f"{name}: {error}") from None
    return packed


def unpack_value(packed: Any, parts: Sequence[memoryview]) -> Value:
    """The value that `pack_value` packed."""
    try:
        return _unpack_value(packed, parts)
    except _MALFORMED as error:
        raise ProtocolError(f"a malformed value: {error}") from None


def unpack_values(packed: Any, parts: Sequence[memoryview]) -> dict[str, Value]:
    """The values that `pack_values` packed."""
    if not isinstance(packed, dict):
        raise ProtocolError("values are no JSON object")
    return {name: unpack_value(value, parts) for name, value in packed.items()}


def _octets(data: memoryview) -> memoryview:
    if not data.nbytes:
        return _EMPTY  # a view of no bytes cannot always be cast
    return data if data.format == "B" and data.ndim == 1 else data.cast("B")


def _unpack_value(packed: Any, parts: Sequence[memoryview]) -> Value:
    kind = packed[0]
    if kind == "t":
        _, number, shape, part = packed
        return Tensor(_ELEMENT_TYPES[number], tuple(map(int, shape)), parts[part])
    if kind == "s":
        return SequenceValue(str(packed[1]), tuple(_unpack_value(p, parts) for p in packed[2]))
    if kind == "o":
        inner = None if packed[2] is None else _unpack_value(packed[2], parts)
        return OptionalValue(str(packed[1]), inner)
    if kind == "m":
        keys, values = (_unpack_value(p, parts) for p in packed[2:4])
        if isinstance(keys, Tensor) and isinstance(values, Tensor):
            return MapValue(str(packed[1]), keys, values)
    raise ValueError(f"{kind!r} is no kind of value")


def pack_device(device: Device) -> dict[str, Any]:
    """A device as JSON."""
    packed = {name: getattr(device, name) for name in Device.__dataclass_fields__}
    return {**packed, "versions": {str(k): str(v) for k, v in device.versions.items()}}


def unpack_device(packed: Any) -> Device:
    """The device that `pack_device` packed. Fields of a newer HAL are ignored."""
    try:
        known = {k: packed[k] for k in Device.__dataclass_fields__ if k in packed}
        return Device(**known)
    except _MALFORMED as error:
        raise ProtocolError(f"a malformed device: {error}") from None


def pack_support(support: Support) -> list[list[str]]:
    """Support as JSON."""
    return [[str(n.node), str(n.operator), str(n.reason)] for n in support.unsupported]


def unpack_support(packed: Any) -> Support:
    """The support that `pack_support` packed."""
    try:
        return Support(tuple(UnsupportedNode(str(n), str(o), str(r)) for n, o, r in packed))
    except _MALFORMED as error:
        raise ProtocolError(f"malformed support: {error}") from None


def pack_placement(placement: Placement) -> list[list[str]]:
    """A placement as JSON."""
    return [[str(n.node), str(n.device), n.evidence.value] for n in placement.nodes]


def unpack_placement(packed: Any) -> Placement:
    """The placement that `pack_placement` packed."""
    try:
        return Placement(tuple(NodePlacement(str(n), str(d), Evidence(e)) for n, d, e in packed))
    except _MALFORMED as error:
        raise ProtocolError(f"a malformed placement: {error}") from None


def pack_verdict(verdict: Verdict) -> list[str]:
    """A verdict as JSON."""
    evidence = verdict.evidence.value if verdict.evidence else ""
    return [verdict.outcome.value, evidence, _cut(str(verdict.reason), _MESSAGE_LIMIT)]


def unpack_verdict(packed: Any) -> Verdict:
    """The verdict that `pack_verdict` packed."""
    try:
        outcome, evidence, reason = packed
        return Verdict(Outcome(outcome), Evidence(evidence) if evidence else None, str(reason))
    except _MALFORMED as error:
        raise ProtocolError(f"a malformed verdict: {error}") from None


def pack_error(error: BaseException, fallback: type[errors.BackendError]) -> dict[str, Any]:
    """An exception as JSON: the nearest HalError class that both ends know, its message, next step
    and traceback. What is no HalError becomes a `fallback` that names its class. Never raises."""
    message = _text(error)
    known = next((c for c in type(error).__mro__ if getattr(errors, c.__name__, None) is c), None)
    if known is None:
        known = fallback
        message = f"{type(error).__name__}: {message}" if message else type(error).__name__
    next_step = getattr(error, "next_step", "")
    nodes = getattr(error, "nodes", ())
    kept = getattr(error, "traceback", "")
    return {
        "type": known.__name__,
        "message": _cut(message, _MESSAGE_LIMIT),
        "next_step": next_step if isinstance(next_step, str) else "",
        "nodes": [str(n) for n in nodes] if isinstance(nodes, (tuple, list)) else [],
        "traceback": (kept if isinstance(kept, str) and kept else _traceback(error))[
            -_TRACEBACK_LIMIT:
        ],
    }


def unpack_error(packed: Any) -> errors.HalError:
    """The error that `pack_error` packed, as an exception to raise."""
    if not isinstance(packed, dict):
        raise ProtocolError("an error is no JSON object")
    kind = getattr(errors, str(packed.get("type")), None)
    if not (isinstance(kind, type) and issubclass(kind, errors.HalError)):
        kind = errors.ExecutionError
    message, next_step = str(packed.get("message", "")), str(packed.get("next_step", ""))
    if issubclass(kind, (errors.UnsupportedError, errors.FallbackError)):
        nodes = packed.get("nodes")
        error: errors.HalError = kind(
            message, nodes=[str(n) for n in nodes or ()], next_step=next_step
        )
    else:
        error = kind(message, next_step=next_step)
    error.traceback = str(packed.get("traceback", ""))
    return error


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException as second:  # noqa: BLE001 (a backend's exception may do anything)
        return f"(its message cannot be read: str() raised {type(second).__name__})"


def _traceback(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(type(error), error, error.__traceback__))
    except BaseException:  # noqa: BLE001 (as above: causes and contexts are the backend's too)
        return ""


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[:limit] + " ..."
