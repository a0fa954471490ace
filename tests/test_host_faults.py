"""Backends made wrong on purpose: each ends as the right error, and the next call works."""

from __future__ import annotations

import os
import signal
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

import hal
from hal import Tensor
from hal.errors import (
    AbsentError,
    BrokenError,
    CrashError,
    DeadlineError,
    ExecutionError,
    HalError,
    MemoryLimitError,
    ProtocolError,
    SkewError,
    UnavailableError,
    UnsupportedError,
)
from hal.host import Host

PLUGIN = """
import ctypes, os, subprocess, sys, threading, time
import numpy as np
import hal
from hal import errors

class Sly(Exception):
    def __init__(self): super().__init__(threading.Lock())
    def __str__(self): raise RuntimeError("no")
    def __reduce__(self): raise TypeError("no")

class Odd(errors.UnsupportedError):
    pass

def loop():
    while True: pass

def native():
    ctypes.PyDLL(None).usleep(100_000_000)  # holds the interpreter's lock

def grow():
    kept = []
    while True: kept.append(np.ones(1 << 20))

def child_grows():
    code = "import numpy as np, time; x = np.ones(1 << 26); time.sleep(100)"
    subprocess.run([sys.executable, "-c", code])

def spam():
    print("noise"); sys.stdout.flush(); os.write(1, b"HAL garbage" * 5000); os.system("echo shout")

def forge():
    import fcntl
    for fd in range(3, 20):  # every pipe that can be written, the protocol's among them
        try:
            if fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_WRONLY: os.write(fd, b"garbage" * 100)
        except OSError: pass
    time.sleep(30)

def fork_and_die():
    if os.fork() == 0: time.sleep(60)
    os._exit(3)

def sly(): raise Sly()
def odd(): raise Odd("no Foo", nodes=("a", "b"), next_step="try bar")
def skew(): raise errors.SkewError("opset 99")
def leave(): sys.exit(0)
def huge(): return {"y": hal.Tensor.from_numpy(np.zeros(1 << 31, np.uint8))}

FAULTS = {
    "segfault": lambda: ctypes.string_at(0), "abort": os.abort, "loop": loop, "native": native,
    "grow": grow, "child-grows": child_grows, "exit": lambda: os._exit(0), "spam": spam,
    "forge": forge, "fork-and-die": fork_and_die, "sly": sly, "odd": odd, "skew": skew,
    "leave": leave, "list": lambda: [1], "array": lambda: {"y": np.ones(2)}, "huge": huge,
    "none": lambda: None, "deep": lambda: deep(),
}

def deep(): return deep()

class Exe:
    def __init__(self, options): self.fault = options.get("fault")
    def run(self, inputs):
        result = FAULTS[self.fault]() if self.fault else None
        return dict(inputs) if result is None else result

class Backend:
    def devices(self):
        if os.environ.get("FAULT") == "hang": time.sleep(100)
        if os.environ.get("FAULT") == "list": return ["cpu"]
        return [hal.Device("bad:cpu", "cpu")]
    def supports(self, device, model): return None
    def compile(self, device, model, options):
        if "compile" in options: FAULTS[options["compile"]]()
        return Exe(options)

def unstartable(): raise OSError("libvendor.so.1: not there")
def unavailable(): raise errors.UnavailableError("no driver", next_step="install it")

@hal.hookimpl
def hal_backends():
    return [
        hal.BackendSpec("bad", Backend),
        hal.BackendSpec(
            "absent", Backend, requires=("numpy", "no-such-sdk"), install="pip install it"
        ),
        hal.BackendSpec("unstartable", unstartable),
        hal.BackendSpec("unavailable", unavailable),
    ]
"""
X = {"x": Tensor.from_numpy(np.arange(3))}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plugin")
    (path / "bad_plugin.py").write_text(textwrap.dedent(PLUGIN))
    (path / "unimportable.py").write_text("import no_such_sdk\n")
    (path / "hanging.py").write_text("import time\ntime.sleep(100)\n")
    return path


@pytest.fixture(scope="module")
def make(folder: Path) -> Iterator[Callable[..., Host]]:
    hosts = []

    def build(backend: str = "bad", module: str = "bad_plugin", **options: Any) -> Host:
        env = {"PYTHONPATH": str(folder), **options.pop("env", {})}
        host = Host(module, backend, env=env, **{"timeout": 30, "memory": 300 << 20, **options})
        hosts.append(host)
        return host

    yield build
    for host in hosts:
        host.close()


@pytest.fixture(scope="module")
def host(make: Callable[..., Host]) -> Host:
    return make()


def works(host: Host) -> None:
    got = host.compile("bad:cpu", hal.Model(b"m")).run(X)["x"]
    assert isinstance(got, Tensor) and got.numpy().tolist() == [0, 1, 2]


DEADLY = [
    ("segfault", CrashError, r"crashed with signal 11 \(SIGSEGV\) in run", 30),
    ("abort", CrashError, r"crashed with signal 6 \(SIGABRT\) in run", 30),
    ("loop", DeadlineError, r"timed out after 0.5 s in run", 0.5),
    ("native", DeadlineError, r"timed out after 0.5 s in run", 0.5),
    ("grow", MemoryLimitError, r"grew past 300 MiB in run", 30),
    ("child-grows", MemoryLimitError, r"grew past 300 MiB in run", 30),
    ("exit", CrashError, r"exited with code 0 in the middle of run", 30),
    ("fork-and-die", CrashError, r"exited with code 3 in the middle of run", 30),
    ("forge", ProtocolError, r"spoke no protocol in run", 30),
    ("huge", MemoryLimitError, r"grew past 300 MiB in run", 30),
]


@pytest.mark.parametrize(
    ("fault", "kind", "message", "timeout"), DEADLY, ids=[d[0] for d in DEADLY]
)
def test_host_faults_deadly(
    host: Host, fault: str, kind: type[HalError], message: str, timeout: float
) -> None:
    executable = host.compile("bad:cpu", hal.Model(b"m"), {"fault": fault})
    before, pid = host.restarts, host.pid
    start = time.monotonic()
    with pytest.raises(kind, match=message):
        executable.run(X, timeout=timeout)
    assert time.monotonic() - start < 20
    with pytest.raises(CrashError, match="its host ended; compile it again"):
        executable.run(X)
    works(host)
    assert host.restarts == before + 1 and host.pid != pid


def test_host_faults_crash_tells_where(host: Host) -> None:
    with pytest.raises(CrashError, match="in compile") as caught:
        host.compile("bad:cpu", hal.Model(b"m"), {"compile": "segfault"})
    assert "bad_plugin.py" in caught.value.traceback
    works(host)


MILD = [
    ("sly", ExecutionError, r"Sly: \(its message cannot be read: str\(\) raised RuntimeError\)"),
    ("odd", UnsupportedError, "no Foo"),
    ("skew", SkewError, "opset 99"),
    ("leave", ExecutionError, "SystemExit: 0"),
    ("list", ExecutionError, "run returned a list, not a mapping"),
    ("array", ExecutionError, "y: ndarray is no value"),
    ("deep", ExecutionError, "RecursionError"),
]


@pytest.mark.parametrize(("fault", "kind", "message"), MILD, ids=[m[0] for m in MILD])
def test_host_faults_mild(host: Host, fault: str, kind: type[HalError], message: str) -> None:
    executable = host.compile("bad:cpu", hal.Model(b"m"), {"fault": fault})
    pid = host.pid
    with pytest.raises(kind, match=message) as caught:
        executable.run(X)
    assert type(caught.value) is kind
    assert "bad_plugin.py" in caught.value.traceback or fault in ("list", "array")
    works(host)
    assert host.pid == pid


def test_host_faults_unsupported_keeps_nodes_and_next_step(host: Host) -> None:
    executable = host.compile("bad:cpu", hal.Model(b"m"), {"fault": "odd"})
    with pytest.raises(UnsupportedError) as caught:
        executable.run(X)
    assert caught.value.nodes == ("a", "b") and caught.value.next_step == "try bar"


def test_host_faults_garbage_on_stdout_is_harmless(host: Host) -> None:
    executable = host.compile("bad:cpu", hal.Model(b"m"), {"fault": "spam"})
    pid = host.pid
    for _ in range(3):
        got = executable.run(X)["x"]
        assert isinstance(got, Tensor) and got.numpy().tolist() == [0, 1, 2]
    assert host.pid == pid


def test_host_faults_supports_that_returns_nothing(host: Host) -> None:
    with pytest.raises(BrokenError, match=r"supports\(\) returned a NoneType"):
        host.supports("bad:cpu", hal.Model(b"m"))
    works(host)


def test_host_faults_devices_that_are_none(make: Callable[..., Host]) -> None:
    with pytest.raises(BrokenError, match=r"devices\(\) returned a str"):
        make(env={"FAULT": "list"}).devices()


def test_host_faults_devices_that_hang(make: Callable[..., Host]) -> None:
    host = make(env={"FAULT": "hang"})
    with pytest.raises(DeadlineError, match=r"timed out after 0.3 s in devices"):
        host.devices(timeout=0.3)
    host.ping()
    assert host.restarts == 1


def test_host_faults_plugin_that_hangs(make: Callable[..., Host]) -> None:
    with pytest.raises(DeadlineError, match=r"timed out after 0.3 s in load"):
        make(module="hanging", timeout=0.3).devices()


STARTS = [
    ("bad", "unimportable", BrokenError, "plugin unimportable does not load: ModuleNotFoundError"),
    ("bad", "no_such_module", BrokenError, "plugin no_such_module does not load"),
    ("bat", "bad_plugin", BrokenError, "has no backend 'bat'. Did you mean 'bad'?"),
    ("unstartable", "bad_plugin", BrokenError, "unstartable does not start: OSError: libvendor"),
    ("unavailable", "bad_plugin", UnavailableError, "no driver"),
    ("absent", "bad_plugin", AbsentError, "absent needs no-such-sdk"),
]


@pytest.mark.parametrize(
    ("backend", "module", "kind", "message"), STARTS, ids=[f"{s[0]}-{s[1]}" for s in STARTS]
)
def test_host_faults_backend_that_does_not_load(
    make: Callable[..., Host], backend: str, module: str, kind: type[HalError], message: str
) -> None:
    host = make(backend, module)
    for _ in range(2):
        with pytest.raises(kind) as caught:
            host.devices()
        assert message in str(caught.value)
    assert host.restarts == 0
    if backend in ("unavailable", "absent"):
        assert caught.value.next_step in ("install it", "pip install it")
    if "does not" in message:
        assert "Traceback" in caught.value.traceback


COMMANDS = [
    (["no-such-command"], UnavailableError, "cannot start 'no-such-command': No such file"),
    (
        [sys.executable, "-c", "import sys; sys.exit('no hal here')"],
        UnavailableError,
        "no hal here",
    ),
    ([sys.executable, "-c", "import os; os.abort()"], CrashError, "signal 6"),
    (["cat", "-"], UnavailableError, "ended with code 1 before it answered"),
    (["sh", "-c", "cat"], ProtocolError, "is no host"),
    (["sh", "-c", "yes"], ProtocolError, "spoke no protocol in start"),
]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX commands")
@pytest.mark.parametrize(
    ("command", "kind", "message"), COMMANDS, ids=["none", "exit", "abort", "cat", "echo", "yes"]
)
def test_host_faults_commands_that_are_no_host(
    make: Callable[..., Host], command: list[str], kind: type[HalError], message: str
) -> None:
    with pytest.raises(kind) as caught:
        make(command=command).devices()
    assert message in str(caught.value)


def test_host_faults_death_between_two_calls(make: Callable[..., Host]) -> None:
    host = make()
    executable = host.compile("bad:cpu", hal.Model(b"m"))
    assert host.pid
    os.kill(host.pid, signal.SIGKILL)
    with pytest.raises(CrashError, match=r"signal 9 \(SIGKILL\)"):
        executable.run(X)
    works(host)
    assert host.restarts == 1
    os.kill(host.pid, signal.SIGKILL)
    time.sleep(0.1)
    works(host)  # a call that needs no executable does not even notice
    assert host.restarts == 2


def test_host_faults_interrupt_leaves_a_usable_host(make: Callable[..., Host]) -> None:
    host = make()
    executable = host.compile("bad:cpu", hal.Model(b"m"), {"fault": "loop"})
    pid = host.pid
    assert pid
    timer = threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        executable.run(X)
    timer.join()
    assert not psutil.pid_exists(pid)
    works(host)


def test_host_faults_a_slow_call_beside_a_hanging_one(make: Callable[..., Host]) -> None:
    """One watch per call: the deadline of one host is not another's."""
    slow, quick = make(), make()
    looping = slow.compile("bad:cpu", hal.Model(b"m"), {"fault": "loop"})
    caught: list[BaseException] = []

    def run() -> None:
        try:
            looping.run(X, timeout=1)
        except DeadlineError as error:
            caught.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    executable = quick.compile("bad:cpu", hal.Model(b"m"))
    while thread.is_alive():
        executable.run(X, timeout=5)
    thread.join()
    assert [str(e) for e in caught] == ["timed out after 1 s in run"]
    assert quick.restarts == 0
