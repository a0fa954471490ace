"""A process that greets as a host and then answers wrongly is stopped with ProtocolError."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import hal
from hal import Tensor
from hal.errors import ProtocolError, UnavailableError
from hal.host import Host

IMPOSTOR = """
import os, sys
from hal.host._wire import PROTOCOL, Channel

channel = Channel(os.dup(0), os.dup(1))
lie = sys.argv[1]
GOOD = {"load": {"abilities": []}, "compile": {"executable": 1}}
LIES = {
    "sequence": {"devices": {"seq": 99, "devices": []}},
    "nothing": {"devices": {}},
    "device": {"devices": {"devices": [{"id": "no id", "kind": "cpu"}]}},
    "support": {"supports": {"support": 3}},
    "executable": {"compile": {"executable": None}},
    "abilities": {"load": {}},
    "error": {"devices": {"error": 5}},
    "outputs": {"run": {"outputs": [], "parts": []}},
    "parts": {"run": {"outputs": {}, "parts": 5}},
    "part": {"run": {"outputs": {"y": ["t", 1, [1], 7]}, "parts": []}},
    "short": {"run": {"outputs": {"y": ["t", 1, [9], 0]}, "parts": [[0, 0, 0]]}},
    "shared": {"run": {"outputs": {}, "parts": [[1, 0, 8]]}},
    "outside": {"run": {"need": 8}, "take": {"outputs": {}, "parts": [[1, 0, 8]]}},
    "need": {"run": {"need": "much"}},
    "negative": {"run": {"need": -8}},
}
while True:
    request, _ = channel.receive()
    op = request["op"]
    if op == "hello":
        protocol = 99 if lie == "protocol" else PROTOCOL
        reply = {"protocol": protocol, "python": "3", "shared": True}
    else:
        reply = LIES[lie].get(op) or GOOD.get(op, {})
    channel.send({"seq": request["seq"], **reply})
"""
CALLS = {
    "sequence": "devices",
    "nothing": "devices",
    "device": "devices",
    "error": "devices",
    "abilities": "devices",
    "support": "supports",
    "executable": "compile",
    "outputs": "run",
    "parts": "run",
    "part": "run",
    "short": "run",
    "shared": "run",
    "outside": "run",
    "need": "run",
    "negative": "run",
}


def impostor(folder: Path, lie: str) -> Host:
    path = folder / "impostor.py"
    path.write_text(IMPOSTOR)
    return Host("none", "impostor", command=[sys.executable, str(path), lie], timeout=20)


@pytest.mark.parametrize(("lie", "call"), CALLS.items(), ids=CALLS.keys())
def test_host_impostor_is_stopped(tmp_path: Path, lie: str, call: str) -> None:
    model = hal.Model(b"m")
    with impostor(tmp_path, lie) as host:
        if call == "run":
            executable = host.compile("x:cpu", model)
            with pytest.raises(ProtocolError):
                executable.run({"x": Tensor.from_numpy(np.ones(3))})
        else:
            with pytest.raises(ProtocolError):
                host.devices() if call == "devices" else getattr(host, call)("x:cpu", model)
        assert host.pid is None


def test_host_impostor_of_another_protocol(tmp_path: Path) -> None:
    with (
        impostor(tmp_path, "protocol") as host,
        pytest.raises(UnavailableError, match="protocol 99") as caught,
    ):
        host.devices()
    assert "same version" in caught.value.next_step
