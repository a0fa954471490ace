"""Frames on a byte stream: a fixed prefix, a JSON header, a binary payload. No pickle.

The prefix is little-endian: 4 bytes of magic, the header's length as uint32, the payload's as
uint64. The payload is a run of parts, each starting at a multiple of ALIGNMENT bytes.
"""

from __future__ import annotations

import io
import json
import os
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from hal.errors import ProtocolError

__all__ = ["ALIGNMENT", "HEADER_LIMIT", "MAGIC", "PAYLOAD_LIMIT", "PROTOCOL", "Channel", "aligned"]

PROTOCOL = 1
"""Both ends state it in their first message; a change of any message's meaning raises it."""
MAGIC = b"HAL\x01"
ALIGNMENT = 64
"""Vector units and cache lines of today's machines need no more."""
HEADER_LIMIT = 64 << 20
PAYLOAD_LIMIT = 1 << 40

_PREFIX = struct.Struct("<4sIQ")
_AT_ONCE = 1 << 16
_CHUNK = 16 << 20  # a signal is noticed between two writes; some systems refuse 2 GiB at once
_encode = json.JSONEncoder(separators=(",", ":")).encode
_PADDING = bytes(ALIGNMENT)


def aligned(size: int) -> int:
    """`size` rounded up to a multiple of ALIGNMENT."""
    return (size + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT


class Channel:
    """One end of the stream, over two file descriptors that it owns.

    A payload larger than `payload_limit` bytes is refused before memory is taken for it.
    """

    def __init__(self, source: int, sink: int, *, payload_limit: int = PAYLOAD_LIMIT) -> None:
        self._source = io.BufferedReader(io.FileIO(source, "rb"), _AT_ONCE)
        self._sink = sink
        self.payload_limit = payload_limit

    def fileno(self) -> int:
        """The descriptor that is read from."""
        return self._source.fileno()

    def send(self, header: Mapping[str, Any], parts: Sequence[memoryview] = ()) -> None:
        """Write one frame. Raises ProtocolError if the header is too long, OSError if the other
        end is gone."""
        text = _encode(header).encode("ascii")
        if len(text) > HEADER_LIMIT:
            raise ProtocolError(f"a header of {len(text)} bytes; {HEADER_LIMIT} are allowed")
        total = sum(aligned(p.nbytes) for p in parts)
        start = _PREFIX.pack(MAGIC, len(text), total) + text
        if len(start) + total <= _AT_ONCE:
            self._write(memoryview(b"".join([start, *_padded(parts)])))
            return
        self._write(memoryview(start))
        for chunk in _padded(parts):
            self._write(memoryview(chunk))

    def receive(self, *, skip: int = 0) -> tuple[dict[str, Any], memoryview]:
        """Read one frame: its header and its payload.

        `skip` bytes that are not the protocol are passed over in search of a frame: what a login
        shell or an interpreter prints before the host is up. Raises EOFError when the stream ends,
        ProtocolError when what comes is not the protocol.
        """
        magic = self._exactly(4)
        while magic != MAGIC:
            if not skip:
                raise ProtocolError(f"{magic!r} stands where a frame should start")
            magic = magic[1:] + self._exactly(1)
            skip -= 1
        _, length, total = _PREFIX.unpack(magic + self._exactly(_PREFIX.size - 4))
        if length > HEADER_LIMIT or total > self.payload_limit:
            raise ProtocolError(f"a frame announces a header of {length} and {total} bytes of data")
        try:
            header = json.loads(self._exactly(length))
        except (ValueError, RecursionError) as error:
            raise ProtocolError(f"a frame's header is not JSON: {error}") from None
        if not isinstance(header, dict):
            raise ProtocolError("a frame's header is no JSON object")
        return header, self._payload(total)

    def close(self) -> None:
        """Close both descriptors."""
        self._source.close()
        if self._sink >= 0:
            os.close(self._sink)
            self._sink = -1

    def close_sink(self) -> None:
        """Close the descriptor that is written to, so that the other end reads an end of file."""
        if self._sink >= 0:
            os.close(self._sink)
            self._sink = -1

    def _write(self, data: memoryview) -> None:
        while data:
            data = data[os.write(self._sink, data[:_CHUNK]) :]

    def _exactly(self, count: int) -> bytes:
        data = self._source.read(count)
        if len(data) < count:
            raise EOFError
        return data

    def _payload(self, total: int) -> memoryview:
        if not total:
            return memoryview(b"")
        buffer: Any = np.empty(total + ALIGNMENT, np.uint8)
        start = -buffer.__array_interface__["data"][0] % ALIGNMENT
        view = memoryview(buffer)[start : start + total]
        done = 0
        while done < total:
            count = self._source.readinto(view[done:])
            if not count:
                raise EOFError
            done += count
        return view.toreadonly()


def _padded(parts: Sequence[memoryview]) -> Iterable[memoryview | bytes]:
    for part in parts:
        yield part
        if part.nbytes % ALIGNMENT:
            yield _PADDING[part.nbytes % ALIGNMENT :]
