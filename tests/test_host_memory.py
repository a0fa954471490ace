"""Shared memory: reused, never changed under a result, and nothing left behind whoever dies."""

from __future__ import annotations

import errno
import gc
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hal
from hal import Tensor
from hal.errors import CrashError
from hal.host import Host, HostedExecutable
from hal.host._shared import RegionPool

pytestmark = pytest.mark.skipif(os.name != "posix", reason="files are shared on POSIX only")

PLUGIN = """
import ctypes, os, signal, time
import hal

class Exe:
    def run(self, inputs):
        if "loop" in inputs:
            print("looping", flush=True)
            while True: pass
        if "native" in inputs: ctypes.PyDLL(None).usleep(100_000_000)
        if "fail" in inputs: raise ValueError("no")
        if "die" in inputs: os.kill(os.getpid(), signal.SIGKILL)
        return dict(inputs)

class Backend:
    def devices(self): return [hal.Device("mem:cpu", "cpu")]
    def supports(self, device, model): return hal.Support()
    def compile(self, device, model, options): return Exe()

@hal.hookimpl
def hal_backends(): return [hal.BackendSpec("mem", Backend)]
"""
PARENT = """
import sys, numpy as np, hal
from hal.host import Host
host = Host("mem_plugin", "mem", timeout=1.5 if sys.argv[1] == "native" else 60)
exe = host.compile("mem:cpu", hal.Model(b"x"))
x = hal.Tensor.from_numpy(np.ones(1 << 20))
exe.run({"x": x})
print(host.pid, flush=True)
exe.run({"x": x, sys.argv[1]: x}) if sys.argv[1] != "idle" else sys.stdin.read()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plugin")
    (path / "mem_plugin.py").write_text(PLUGIN)
    return path


def start(folder: Path, **options: Any) -> Host:
    return Host("mem_plugin", "mem", env={"PYTHONPATH": str(folder)}, timeout=30, **options)


@pytest.fixture
def host(folder: Path) -> Iterator[Host]:
    with start(folder) as host:
        yield host


def model(host: Host) -> HostedExecutable:
    executable = host.compile("mem:cpu", hal.Model(b"x"))
    assert host.shares_memory
    return executable


def big(value: float, count: int = 200_000) -> Tensor:
    return Tensor.from_numpy(np.full(count, value))


def array(value: hal.Value) -> np.ndarray[Any, Any]:
    assert isinstance(value, Tensor)
    return value.numpy()


def output_size(host: Host) -> int:
    assert host._process and host._process.files
    return host._process.files.output.size


def test_host_memory_results_do_not_change(host: Host) -> None:
    executable = model(host)
    kept = [executable.run({"x": big(i)})["x"] for i in range(6)]
    views = [array(k)[5:7] for k in kept]
    del kept
    gc.collect()
    for i in range(6, 12):
        assert array(executable.run({"x": big(i)})["x"])[0] == i
    assert [v.tolist() for v in views] == [[i, i] for i in range(6)]


def test_host_memory_is_reused(host: Host) -> None:
    executable = model(host)
    sizes = []
    for i in range(20):
        result = executable.run({"x": big(i), "y": big(-i, 100_000)})
        assert array(result["y"])[-1] == -i
        sizes.append(output_size(host))
    assert len(set(sizes[2:])) == 1  # one for the result that is held, one for the next


def test_host_memory_failed_runs_keep_no_region(host: Host) -> None:
    executable = model(host)
    executable.run({"x": big(1)})
    size = output_size(host)
    for _ in range(5):
        with pytest.raises(hal.errors.ExecutionError):
            executable.run({"x": big(1), "fail": big(1)})
        executable.run({"small": Tensor.from_numpy(np.ones(3))})
    assert output_size(host) == size


def test_host_memory_results_outlive_the_host(folder: Path) -> None:
    host = start(folder)
    executable = model(host)
    result = executable.run({"x": big(7)})["x"]
    with pytest.raises(CrashError, match="SIGKILL"):
        executable.run({"x": big(8), "die": big(9)})
    again = model(host).run({"x": big(9)})["x"]
    host.close()
    gc.collect()
    assert array(result).tolist() == [7] * 200_000 and array(again)[0] == 9


def test_host_memory_full_goes_through_the_stream(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    executable = model(host)

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    monkeypatch.setattr(os, "ftruncate", full)
    result = executable.run({"x": big(5), "y": big(6)})
    assert (array(result["x"])[0], array(result["y"])[-1]) == (5, 6)
    monkeypatch.undo()
    assert array(executable.run({"x": big(4)})["x"])[0] == 4


def test_host_memory_behind_a_wall_goes_through_the_stream(folder: Path) -> None:
    """A command that closes what it inherits, as ssh and containers do."""
    close = (
        "import os, sys; os.closerange(3, 99); "
        "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    )
    with start(folder, command=[sys.executable, "-c", close, "-m", "hal.host"]) as host:
        executable = host.compile("mem:cpu", hal.Model(b"x"))
        assert not host.shares_memory
        assert array(executable.run({"x": big(5)})["x"])[-1] == 5


def leftovers() -> set[Path]:
    folders = [Path(tempfile.gettempdir()), Path("/dev/shm")]
    return {p for folder in folders if folder.is_dir() for p in folder.iterdir()}


@pytest.mark.parametrize("memfd", [True, False], ids=["memfd", "file"])
def test_host_memory_killed_host_leaves_nothing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memfd: bool
) -> None:
    if not memfd:
        monkeypatch.delattr(os, "memfd_create", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = leftovers()
    assert psutil.Process().num_fds()  # what the first call opens itself is not the host's
    with start(folder) as host:
        executable = model(host)
        result = executable.run({"x": big(1)})
        assert host.pid
        os.kill(host.pid, signal.SIGKILL)
        with pytest.raises(CrashError):
            executable.run({"x": big(1)})
        del result
    assert {p for p in leftovers() - before if "hal" in p.name or p.parent == tmp_path} == set()


def test_host_memory_descriptors_are_given_back(folder: Path) -> None:
    def once() -> None:
        with start(folder) as host:
            model(host).run({"x": big(1)})

    once()
    gc.collect()
    process = psutil.Process()
    before = process.num_fds()
    for _ in range(3):
        once()
    gc.collect()
    deadline = time.monotonic() + 5  # the thread that reads standard error closes its own
    while process.num_fds() > before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert process.num_fds() <= before


def ended(process: psutil.Process) -> bool:
    """Whether it ended; in some containers nobody collects the orphans that did."""
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize("doing", ["idle", "loop", "native"])
def test_host_memory_killed_parent_leaves_no_host(folder: Path, doing: str) -> None:
    before = leftovers()
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, doing],
        env={**os.environ, "PYTHONPATH": str(folder)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    with parent:
        assert parent.stdout
        host = psutil.Process(int(parent.stdout.readline()))
        time.sleep(0.3)
        assert host.is_running()
        parent.kill()
        deadline = time.monotonic() + 20
        while not ended(host):
            if time.monotonic() > deadline:
                host.kill()
                pytest.fail("the host outlived its parent")
            time.sleep(0.05)
    assert not {p for p in leftovers() - before if "hal" in p.name}


def test_host_memory_a_host_that_nobody_holds_ends(folder: Path) -> None:
    host = start(folder)
    host.ping()
    assert host.pid
    process = psutil.Process(host.pid)
    del host
    gc.collect()
    assert not process.is_running()


sizes = st.integers(0, 20_000)


@given(st.lists(st.one_of(sizes, st.integers(-5, -1)), max_size=40))
def test_host_memory_regions_never_overlap(steps: list[int]) -> None:
    """A size takes a region; a negative number gives one of those held back."""
    pool, held = RegionPool(4096), []
    for step in steps:
        if step >= 0:
            held.append(pool.take(step))
            assert held[-1][1] >= step
        elif held:
            pool.give(held.pop(step % len(held)))
        ends = 4096
        for offset, size in sorted(held):
            assert offset >= ends
            ends = offset + size
        assert ends <= pool.end
    for region in held:
        pool.give(region)
    end = pool.end
    if end > 4096:
        assert pool.take(end - 4096) == (4096, end - 4096) and pool.end == end
