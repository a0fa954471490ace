"""The protocol's frames and parts: what goes in comes out, and garbage ends as ProtocolError."""

from __future__ import annotations

import json
import os
import struct
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hal import errors
from hal.errors import ExecutionError, HalError, ProtocolError
from hal.host import _codec as codec
from hal.host._parts import describe, locate
from hal.host._wire import HEADER_LIMIT, MAGIC, Channel


class Pipe:
    """A channel that reads what it wrote, and the raw end to write anything else."""

    def __init__(self) -> None:
        source, sink = os.pipe()
        self.raw = os.dup(sink)
        self.channel = Channel(source, sink, payload_limit=1 << 20)

    def feed(self, data: bytes) -> None:
        os.write(self.raw, data)
        self.end()

    def end(self) -> None:
        self.channel.close_sink()
        if self.raw >= 0:
            os.close(self.raw)
        self.raw = -1

    def close(self) -> None:
        self.end()
        self.channel.close()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()


headers = st.dictionaries(
    st.text(), st.one_of(st.integers(), st.text(), st.none(), st.lists(st.floats(allow_nan=False)))
)


@settings(max_examples=50, deadline=None)
@given(headers, st.lists(st.binary(max_size=300), max_size=5))
def test_host_wire_frames_round_trip(header: dict[str, Any], data: list[bytes]) -> None:
    pipe = Pipe()
    try:
        listed, inline = describe([memoryview(d) for d in data], {})
        pipe.channel.send({**header, "parts": listed}, inline)
        got, payload = pipe.channel.receive()
        assert [bytes(p) for p in locate(got.pop("parts"), payload, None)] == data
        assert got == {k: v for k, v in header.items() if k != "parts"}
    finally:
        pipe.close()


def test_host_wire_large_payload(pipe: Pipe) -> None:
    data = os.urandom(900_001)
    listed, inline = describe([memoryview(b"abc"), memoryview(data)], {})
    thread = threading.Thread(target=pipe.channel.send, args=({"parts": listed}, inline))
    thread.start()
    header, payload = pipe.channel.receive()
    thread.join()
    assert [bytes(p) for p in locate(header["parts"], payload, None)] == [b"abc", data]


GARBAGE = {
    "text": b"Welcome to board\nLast login: never\n" * 3,
    "giant-header": MAGIC + struct.pack("<IQ", HEADER_LIMIT + 1, 0),
    "giant-payload": MAGIC + struct.pack("<IQ", 2, 1 << 62) + b"{}",
    "no-json": MAGIC + struct.pack("<IQ", 4, 0) + b"\xff{}}",
    "no-object": MAGIC + struct.pack("<IQ", 2, 0) + b"[]",
    "deep": MAGIC + struct.pack("<IQ", 60_000, 0) + b"[" * 60_000,
}


@pytest.mark.parametrize("data", GARBAGE.values(), ids=GARBAGE.keys())
def test_host_wire_garbage(pipe: Pipe, data: bytes) -> None:
    pipe.feed(data)
    with pytest.raises(ProtocolError):
        pipe.channel.receive()


@pytest.mark.parametrize("cut", [0, 3, 10, 17, 40])
def test_host_wire_torn_frame_is_the_end(pipe: Pipe, cut: int) -> None:
    header = json.dumps({"a": 1}).encode()
    frame = MAGIC + struct.pack("<IQ", len(header), 64) + header + bytes(64)
    pipe.feed(frame[:cut])
    with pytest.raises(EOFError):
        pipe.channel.receive()


def test_host_wire_noise_before_the_first_frame_is_passed_over(pipe: Pipe) -> None:
    os.write(pipe.raw, b"Welcome! HAHAL" + MAGIC[:3] + b"\n")
    pipe.channel.send({"a": 1})
    assert pipe.channel.receive(skip=100)[0] == {"a": 1}


def test_host_wire_header_too_long_is_refused_unsent(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hal.host._wire.HEADER_LIMIT", 100)
    with pytest.raises(ProtocolError, match="100 are allowed"):
        pipe.channel.send({"x": "y" * 100})
    pipe.end()
    with pytest.raises(EOFError):
        pipe.channel.receive()


LISTS: list[Any] = [
    [[0, 0, 65]],
    [[0, -1, 4]],
    [[0, 0, -4]],
    [[1, 0, 4]],
    [[2, 0, 4]],
    [[0, 0]],
    [["a", 0, 0]],
    7,
    [[0, 0.5, 1]],
    [None],
]


@pytest.mark.parametrize("listed", LISTS, ids=repr)
def test_host_wire_malformed_parts(listed: Any) -> None:
    with pytest.raises(ProtocolError):
        locate(listed, memoryview(bytes(64)), None)


@settings(max_examples=60)
@given(
    st.recursive(
        st.one_of(st.none(), st.integers(-3, 40), st.sampled_from(["t", "s", "o", "m", "?"])),
        lambda inner: st.lists(inner, max_size=4),
    )
)
def test_host_wire_malformed_values(packed: Any) -> None:
    try:
        value = codec.unpack_value(packed, [memoryview(b"")])
    except ProtocolError:
        return
    parts: list[memoryview] = []
    again = codec.pack_value(value, parts)  # what is accepted is a value
    assert codec.unpack_value(again, parts) == value


@pytest.mark.parametrize("unpack", ["device", "support", "placement", "values", "error"])
@pytest.mark.parametrize("packed", [None, 3, "x", [1], [["a"]]], ids=repr)
def test_host_wire_malformed_words(unpack: str, packed: Any) -> None:
    function = getattr(codec, f"unpack_{unpack}")
    with pytest.raises(ProtocolError):
        function(packed, []) if unpack == "values" else function(packed)


@pytest.mark.parametrize("name", [n for n in errors.__all__ if n[0].isupper()])
def test_host_wire_every_error_keeps_its_class(name: str) -> None:
    kind = getattr(errors, name)
    packed = codec.pack_error(kind("what", next_step="do"), ExecutionError)
    got = codec.unpack_error(json.loads(json.dumps(packed)))
    assert type(got) is kind and str(got) == "what" and got.next_step == "do"


def test_host_wire_unknown_error_is_an_execution_error() -> None:
    got = codec.unpack_error({"type": "did_you_mean", "message": "x", "nodes": 3})
    assert type(got) is ExecutionError and isinstance(got, HalError)
