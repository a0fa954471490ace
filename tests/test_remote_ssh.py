"""`hal remote`: the devices of another machine, through a real sshd on the loopback address."""

from __future__ import annotations

import dataclasses
import getpass
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from hal import Model, Tensor
from hal.cli import main
from hal.elsewhere.remotes import remotes_dir
from hal.errors import CrashError, UnavailableError
from hal.plugins import load_backend, load_plugins

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
pytestmark = pytest.mark.skipif(
    SSHD is None or shutil.which("ssh") is None, reason="needs sshd (openssh-server) and ssh"
)


@dataclasses.dataclass
class Server:
    """An sshd with keys of its own, and what ssh needs to reach it."""

    port: int
    options: list[str]
    process: subprocess.Popen[bytes]

    @property
    def destination(self) -> str:
        return f"{getpass.getuser()}@127.0.0.1"

    @property
    def arguments(self) -> list[str]:
        return [word for option in self.options for word in ("--ssh-option", option)]

    def kill(self) -> None:
        """The server and every connection, at once."""
        if self.process.poll() is None:
            root = psutil.Process(self.process.pid)
            for each in [root, *root.children(recursive=True)]:
                if "ssh" in each.name():
                    each.kill()
            self.process.wait(10)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    folder = tmp_path / "ssh"
    folder.mkdir(mode=0o700)
    for key in ("host", "user"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)]
        subprocess.run(command, check=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    public = (folder / "host.pub").read_text().split()
    (folder / "known").write_text(f"[127.0.0.1]:{port} {public[0]} {public[1]}\n")
    (folder / "config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder / 'host'}\n"
        f"AuthorizedKeysFile {folder / 'user.pub'}\nStrictModes no\nUsePAM no\nPidFile none\n"
        "PasswordAuthentication no\nPermitRootLogin prohibit-password\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd insists on it
    command = [str(SSHD), "-D", "-e", "-f", str(folder / "config")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=log)
    options = [
        f"Port={port}",
        f"IdentityFile={folder / 'user'}",
        f"UserKnownHostsFile={folder / 'known'}",
        "IdentitiesOnly=yes",
        "GlobalKnownHostsFile=/dev/null",
    ]
    made = Server(port, options, process)
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None, (folder / "log").read_text()
            time.sleep(0.1)
        yield made
    finally:
        made.kill()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HAL_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def board(home: Path, server: Server, capsys: pytest.CaptureFixture[str]) -> Server:
    add = ["remote", "add", "board", server.destination, "--python", sys.executable]
    assert main([*add, *server.arguments]) == 0, capsys.readouterr().err
    return server


def test_remote_devices_and_a_few_cases(
    board: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "board/reference" in capsys.readouterr().out
    assert main(["devices", "--backend", "board/reference", "--json"]) == 0
    (device,) = json.loads(capsys.readouterr().out)["devices"]
    assert (device["id"], device["backend"]) == ("board/reference:cpu", "board/reference")
    report = tmp_path / "report.json"
    command = ["conformance", "-d", "board/reference:cpu", "-k", "test_relu", "--json", str(report)]
    assert main(command) == 0
    (one,) = json.loads(report.read_text())["reports"]
    assert one["device"]["id"] == "board/reference:cpu" and one["complete"]
    assert {case["outcome"] for case in one["cases"]} == {"pass"}
    assert any("measured on the machine 'board'" in note for note in one["notes"])

    known = {"module": "hal_reference", "distribution": "hal-reference", "version": "0.1.0"}
    with load_backend("board/reference", **known) as one_backend:  # as a stored route does
        assert one_backend.find_device("board/reference:cpu").remote == "board"
    with load_plugins() as registry:
        with pytest.raises(UnavailableError, match="it lives in the machine 'board'"):
            registry.backend("board/reference")
        with registry.host("board/ort", timeout=60) as host:
            found = registry.find_device("board/ort:cpu")
            executable = host.compile(found, relu())
            x = Tensor.from_numpy(np.array([-1, 2], np.float32))
            y = executable.run({"x": x})["y"]
            assert isinstance(y, Tensor) and y.numpy().tolist() == [0, 2]
            places = {node.device for node in executable.placement().nodes}
            assert places == {"board/ort:cpu"}
            assert not host.shares_memory
            board.kill()
            with pytest.raises(CrashError, match="lost the connection to 'board' in run"):
                executable.run({"x": x})
            with pytest.raises(UnavailableError, match="the machine 'board' did not answer"):
                host.ping()
    assert main(["devices", "--backend", "board/reference"]) == 0
    assert "did not answer" in capsys.readouterr().out
    assert main(["remote", "remove", "board"]) == 0
    assert list(remotes_dir().iterdir()) == []


def relu() -> Model:
    import onnx
    from onnx import TensorProto, helper

    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"], name="n")],
        "g",
        [value("x", TensorProto.FLOAT, [2])],
        [value("y", TensorProto.FLOAT, [2])],
    )
    imports = [helper.make_opsetid("", 17)]
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=imports, ir_version=9)
    return Model(model.SerializeToString())


def test_remote_lost_in_the_middle_of_a_run(board: Server, home: Path, tmp_path: Path) -> None:
    """What ran is kept, the rest is not-run, and nothing hangs or ends in a traceback."""
    report = tmp_path / "report.json"
    command = [sys.executable, "-m", "hal", "conformance", "-d", "board/reference:cpu", "-j", "1"]
    process = subprocess.Popen(
        [*command, "-k", "onnx/node/test_[a-f]*", "--json", str(report)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        for _ in range(600):
            if sum(p.read_bytes().count(b"\n") for p in home.glob("data/runs/*/*.jsonl")) > 20:
                break
            assert process.poll() is None
            time.sleep(0.1)
        board.kill()
        _, told = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 8, told
    assert "Traceback" not in told
    assert "the machine 'board' did not answer" in told and "--resume" in told
    (one,) = json.loads(report.read_text())["reports"]
    assert one["complete"] is False and one["scores"] is None
    assert one["outcomes"]["pass"] > 10 and one["outcomes"]["not-run"] > 0
    assert one["outcomes"]["crash"] == 0  # no verdict that nobody could repeat


BAD = {
    "name": (["add", "../x", "u@h"], "'../x' is no name"),
    "option-as-host": (["add", "board", "--", "-oProxyCommand=x"], "is no destination"),
    "empty-host": (["add", "board", ""], "'' is no destination"),
    "ssh-option": (["add", "board", "u@h", "--ssh-option", "Port"], "is no Key=value"),
    "python": (["add", "board", "u@h", "--python", "-c"], "'-c' is no program"),
    "remove": (["remove", "board"], "there is no remote 'board'"),
    "remove-path": (["remove", "../keep"], "there is no remote '../keep'"),
}


@pytest.mark.parametrize(("arguments", "reason"), BAD.values(), ids=BAD.keys())
def test_remote_bad_input(
    home: Path, arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["remote", *arguments]) == 2
    told = capsys.readouterr().err
    assert reason in told and "next: " in told
    assert not remotes_dir().exists()


def test_remote_that_cannot_be_used(
    home: Path, server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add = ["remote", "add", "board", server.destination, *server.arguments, "--python"]
    older = tmp_path / "python"
    answer = {"hal": "0.0.1", "protocol": 0, "python": "3.10", "platform": "x", "backends": []}
    older.write_text(f"#!/bin/sh\necho welcome\necho 'HAL-INVENTORY {json.dumps(answer)}'\n")
    older.chmod(0o755)
    for python, reason in (
        ("no-such-python", "cannot run no-such-python -m hal.elsewhere.inventory"),
        ("/bin/true", "answers, but not as hal does"),
        (str(older), "has hal 0.0.1 with protocol 0"),
    ):
        assert main([*add, python]) == 5
        assert reason in capsys.readouterr().err
    server.kill()
    assert main([*add, sys.executable]) == 5
    assert "cannot be reached" in capsys.readouterr().err
    assert not remotes_dir().exists()


def test_remote_files_that_cannot_be_read(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    remotes_dir().mkdir(parents=True)
    for name, text in (("a", ""), ("b", "[]"), ("c", '{"schema": "hal.remote/9"}'), ("d", "\0")):
        (remotes_dir() / f"{name}.json").write_text(text)
    assert main(["remote", "list", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["remotes"]
    assert [r["name"] for r in found] == ["a", "b", "c", "d"] and all(r["broken"] for r in found)
    assert not [name for name in load_plugins().backends if "/" in name]
    assert main(["remote", "remove", "a"]) == 0
    assert main(["remote", "list"]) == 0
    assert "hal remote remove b" in capsys.readouterr().out
