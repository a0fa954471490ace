"""Where a message's parts are: in its payload, or in a shared file.

A header lists them as `[place, offset, size]`, place 0 for the payload and 1 for the file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hal.errors import ProtocolError
from hal.host._shared import SHARE_FROM
from hal.host._wire import aligned

__all__ = ["describe", "large", "locate"]


def large(parts: Sequence[memoryview]) -> list[int]:
    """The indices of the parts that are worth a shared file."""
    return [i for i, part in enumerate(parts) if part.nbytes >= SHARE_FROM]


def describe(
    parts: Sequence[memoryview], shared: Mapping[int, int]
) -> tuple[list[list[int]], list[memoryview]]:
    """The list for the header and the parts for the payload; `shared` gives the offset of each
    part that lies in the file."""
    listed, inline, end = [], [], 0
    for index, part in enumerate(parts):
        if index in shared:
            listed.append([1, shared[index], part.nbytes])
        else:
            listed.append([0, end, part.nbytes])
            inline.append(part)
            end += aligned(part.nbytes)
    return listed, inline


def locate(
    listed: Any, payload: memoryview, shared: Callable[[int, int], memoryview] | None
) -> list[memoryview]:
    """The parts that a header lists; `shared` views a range of the file. Raises ProtocolError for
    a range that is not there."""
    parts = []
    try:
        for place, offset, size in listed:
            if offset < 0 or size < 0:
                raise ValueError("a negative offset or size")
            if place == 1 and shared is not None:
                parts.append(shared(offset, size))
            elif place == 0 and offset + size <= payload.nbytes:
                parts.append(payload[offset : offset + size])
            else:
                raise ValueError(f"place {place}, offset {offset}, size {size}")
    except (TypeError, ValueError) as error:
        raise ProtocolError(f"a malformed list of parts: {error}") from None
    return parts
