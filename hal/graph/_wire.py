"""Protocol Buffers' wire format: a message's fields, one by one, over a memoryview.

The format: https://protobuf.dev/programming-guides/encoding/. Everything here raises ModelError
and nothing else, whatever the bytes are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Union

import numpy as np

from hal.errors import ModelError

__all__ = [
    "Field",
    "copied",
    "field",
    "fields",
    "head",
    "integer",
    "message",
    "signed",
    "text",
    "varint",
    "varints",
]

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5

Field = Union[int, memoryview]
_WORD = (1 << 64) - 1


def _read_varint(view: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    try:
        while True:
            octet = view[at]
            at += 1
            value |= (octet & 0x7F) << shift
            if octet < 0x80:
                return value & _WORD, at
            shift += 7
            if shift >= 70:
                raise ModelError("malformed model: a varint is longer than ten bytes")
    except IndexError:
        raise ModelError("malformed model: it ends inside a varint") from None


def fields(view: memoryview) -> Iterator[tuple[int, int, Field]]:
    """Yield (field number, wire type, value) of a message; the value is an int for a varint and
    a view of the bytes otherwise. Raises ModelError where the bytes are no message."""
    at, end = 0, len(view)
    while at < end:
        tag, at = _read_varint(view, at)
        number, kind = tag >> 3, tag & 7
        if not 0 < number < 1 << 29:
            raise ModelError(f"malformed model: field number {number}")
        if kind == VARINT:
            value, at = _read_varint(view, at)
            yield number, kind, value
            continue
        if kind == LENGTH:
            size, at = _read_varint(view, at)
        elif kind == FIXED64:
            size = 8
        elif kind == FIXED32:
            size = 4
        else:
            raise ModelError(f"malformed model: wire type {kind}")
        if size > end - at:
            raise ModelError(
                f"malformed model: a field claims {size} bytes where {end - at} are left"
            )
        yield number, kind, view[at : at + size]
        at += size


def message(value: Field) -> memoryview:
    """The bytes of a nested message, string or packed field."""
    if isinstance(value, int):
        raise ModelError("malformed model: a number stands where a message belongs")
    return value


def text(value: Field) -> str:
    """A UTF-8 string."""
    try:
        return bytes(message(value)).decode("utf-8")
    except UnicodeDecodeError:
        raise ModelError("malformed model: a name is not UTF-8") from None


def integer(value: Field) -> int:
    """A varint as a signed 64-bit integer."""
    if not isinstance(value, int):
        raise ModelError("malformed model: bytes stand where a number belongs")
    return signed(value)


def signed(value: int) -> int:
    """Two's complement of a 64-bit varint."""
    return value - (1 << 64) if value >> 63 else value


def varints(view: memoryview) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """All varints of a packed field, as uint64."""
    octets = np.frombuffer(view, dtype=np.uint8)
    if not octets.size:
        return np.empty(0, dtype=np.uint64)
    last = np.flatnonzero(octets < 0x80)
    if not last.size or last[-1] != octets.size - 1:
        raise ModelError("malformed model: a packed field ends inside a varint")
    first = np.concatenate(([0], last[:-1] + 1))
    length = last - first + 1
    longest = int(length.max())
    if longest > 10:
        raise ModelError("malformed model: a varint is longer than ten bytes")
    values = np.zeros(last.size, dtype=np.uint64)
    for position in range(longest):
        has = length > position
        part = (octets[first[has] + position] & 0x7F).astype(np.uint64)
        values[has] |= part << np.uint64(7 * position)
    return values


def field(number: int, data: bytes) -> bytes:
    """A field that holds a message, string or packed numbers, written."""
    return head(number, LENGTH) + varint(len(data)) + data


def copied(number: int, kind: int, value: Field) -> list[bytes | memoryview]:
    """A field that `fields` gave, written again, in pieces."""
    if isinstance(value, int):
        return [head(number, kind), varint(value)]
    if kind == LENGTH:
        return [head(number, kind), varint(len(value)), value]
    return [head(number, kind), value]


def head(number: int, kind: int) -> bytes:
    """The tag of a field."""
    return varint(number << 3 | kind)


def varint(value: int) -> bytes:
    """An unsigned number, written."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
