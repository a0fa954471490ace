"""Probing: each backend in a host process of its own ends in one of four states."""

from __future__ import annotations

import os
import signal
import textwrap
import threading
import time
from typing import Any

import psutil
import pytest

from hal.errors import AbsentError, BrokenError, UnavailableError, UsageError
from hal.plugins import BackendStatus, Registry, State, load_plugins

SOURCE = """
import os, signal, sys, time
import hal
from hal import errors

def devices():
{devices}

class Fake:
    def devices(self):
        return devices()
    def supports(self, device, model):
        return hal.Support()
    def compile(self, device, model, options):
        raise NotImplementedError

def make():
{factory}

@hal.hookimpl
def hal_backends():
    return [hal.BackendSpec({name!r}, make, install="pip install the-sdk" {more})]
"""

READY = """
return [hal.Device("{name}:cpu", "cpu", "Fake", versions={{"pid": str(os.getpid())}}),
        hal.Device("{name}:npu:1", "npu", memory=3 << 30, emulated=True, slow=True)]
"""


def source(name: str, devices: str = READY, factory: str = "return Fake()", more: str = "") -> str:
    return SOURCE.format(
        name=name,
        devices=textwrap.indent(
            devices.replace("{name}", name).replace("{{", "{").replace("}}", "}").strip(), "    "
        ),
        factory=textwrap.indent(factory, "    "),
        more=more,
    )


def probe(site: Any, devices: str = READY, **options: str) -> BackendStatus:
    site.add("fake-dev", source("fakedev", devices, **options))
    with load_plugins() as registry:
        return registry.probe(["fakedev"], timeout=10)["fakedev"]


def test_ready(site: Any) -> None:
    status = probe(site)
    assert status.state is State.READY
    assert [d.id for d in status.devices] == ["fakedev:cpu", "fakedev:npu:1"]
    assert status.devices[1].memory == 3 << 30
    assert status.devices[1].emulated and status.devices[1].slow


def test_absent_without_starting_a_host(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Registry, "host", None)
    status = probe(site, more=", requires=('numpy', 'not-there-at-all')")
    assert status.state is State.ABSENT
    assert status.reason == "not-there-at-all not installed"
    assert status.next_step == "pip install the-sdk"


STATES = {
    "absent": (
        "raise errors.AbsentError('no libchip')",
        State.ABSENT,
        "no libchip",
        "pip install the-sdk",
    ),
    "unavailable": (
        "raise errors.UnavailableError('no driver', next_step='modprobe chip')",
        State.UNAVAILABLE,
        "no driver",
        "modprobe chip",
    ),
    "empty": ("return []", State.UNAVAILABLE, "it lists no device", "hal doctor fakedev"),
    "all-off": (
        "return [hal.Device('fakedev:npu', 'npu', unavailable='no firmware')]",
        State.UNAVAILABLE,
        "fakedev:npu: no firmware",
        "hal doctor fakedev",
    ),
    "raise": ("return 1/0", State.BROKEN, "ZeroDivisionError", "hal doctor fakedev"),
    "exit": ("sys.exit(3)", State.BROKEN, "SystemExit", "hal doctor fakedev"),
    "die": ("os._exit(0)", State.BROKEN, "exited with code 0", "hal doctor fakedev"),
    "segfault": (
        "os.kill(os.getpid(), signal.SIGSEGV)",
        State.BROKEN,
        "crashed with signal 11 (SIGSEGV)",
        "hal doctor fakedev",
    ),
    "no-list": ("return 3", State.BROKEN, "int", "hal doctor fakedev"),
    "no-device": ("return ['cpu']", State.BROKEN, "str", "hal doctor fakedev"),
    "twice": (
        "return [hal.Device('fakedev:cpu', 'cpu')] * 2",
        State.BROKEN,
        "it lists device 'fakedev:cpu' twice",
        "docs/hooks.md",
    ),
    "foreign": (
        "return [hal.Device('ort:cpu', 'cpu')]",
        State.BROKEN,
        "it lists device 'ort:cpu', whose id belongs to backend 'ort'",
        "docs/hooks.md",
    ),
    "malformed": (
        "return [hal.Device('no id', 'cpu')]",
        State.BROKEN,
        "device id 'no id'",
        "hal doctor fakedev",
    ),
}


@pytest.mark.parametrize("case", STATES)
def test_state_has_its_reason_and_next_step(site: Any, case: str) -> None:
    devices, state, reason, step = STATES[case]
    status = probe(site, devices)
    assert status.state is state
    assert reason in status.reason
    assert step in status.next_step


def test_device_that_is_listed_as_unavailable(site: Any) -> None:
    devices = (
        "return [hal.Device('fakedev:cpu', 'cpu'),"
        " hal.Device('fakedev:npu', 'npu', unavailable='no firmware')]"
    )
    site.add("fake-dev", source("fakedev", devices))
    with load_plugins() as registry:
        assert registry.probe(["fakedev"])["fakedev"].state is State.READY
        with pytest.raises(UnavailableError, match="fakedev:npu is unavailable: no firmware"):
            registry.find_device("fakedev:npu")


def test_factory_that_hangs(site: Any) -> None:
    site.add("fake-dev", source("fakedev", factory="time.sleep(600)"))
    with load_plugins() as registry:
        status = registry.probe(["fakedev"], timeout=2)["fakedev"]
    assert status.reason == "the device list did not answer in 2 s"


def test_factory_that_fails_keeps_its_traceback(site: Any) -> None:
    status = probe(site, factory="import nowhere_at_all")
    assert status.state is State.BROKEN
    assert "No module named 'nowhere_at_all'" in status.reason
    assert "fake_dev.py" in status.traceback


def test_list_that_hangs_costs_its_time_limit_and_no_other(site: Any) -> None:
    site.add("fake-hang", source("hanging", "time.sleep(600)"))
    site.add("fake-dev", source("fakedev"))
    with load_plugins() as registry:
        # The healthy one is asked with the same limit, which leaves room for a busy machine.
        found = registry.probe(["hanging", "fakedev"], timeout=5)
    assert found["hanging"].state is State.BROKEN
    assert found["hanging"].reason == "the device list did not answer in 5 s"
    assert found["fakedev"].state is State.READY


def test_each_is_asked_once(site: Any) -> None:
    site.add("fake-dev", source("fakedev"))
    with load_plugins() as registry:
        first = registry.probe(["fakedev"])["fakedev"]
        assert registry.probe(["fakedev"])["fakedev"] is first
        again = registry.probe(["fakedev"], refresh=True)["fakedev"]
    assert again.devices[0].versions != first.devices[0].versions  # another process


def children() -> set[int]:
    return {p.pid for p in psutil.Process().children(recursive=True)}


def test_no_host_is_left(site: Any) -> None:
    site.add("fake-dev", source("fakedev"))
    before = children()
    registry = load_plugins()
    registry.probe(["fakedev"])
    assert children() == before
    registry.find_device("fakedev:cpu")
    registry.probe(["fakedev"], keep=True, refresh=True)
    registry.probe(["fakedev"], keep=True, refresh=True)
    assert len(children() - before) == 1
    registry.close()
    assert children() == before


def test_host_that_found_a_device_is_handed_out(site: Any) -> None:
    site.add("fake-dev", source("fakedev"))
    with load_plugins() as registry:
        device = registry.find_device("fakedev:cpu")
        with registry.host("fakedev", timeout=20.0) as host:
            assert host.timeout == 20.0
            assert host.devices()[0].versions == device.versions  # the same process
            with registry.host("fakedev") as second:
                assert second.devices()[0].versions != device.versions


def test_host_with_limits_is_a_new_one(site: Any) -> None:
    site.add("fake-dev", source("fakedev"))
    with load_plugins() as registry:
        device = registry.find_device("fakedev:cpu")
        with registry.host("fakedev", shared_memory=False) as host:
            assert host.devices()[0].versions != device.versions


def test_handed_out_host_takes_the_limits(site: Any) -> None:
    site.add("fake-dev", source("fakedev"))
    with load_plugins() as registry:
        device = registry.find_device("fakedev:cpu")
        with registry.host("fakedev", memory=1 << 30) as host:
            assert host.memory == 1 << 30
            assert host.devices()[0].versions == device.versions


def test_find_device_asks_only_its_backend(site: Any) -> None:
    site.add("fake-dev", source("fakedev"))
    site.add("fake-hang", source("hanging", "time.sleep(600)"))
    with load_plugins() as registry:
        assert registry.find_device("fakedev:npu:1").kind == "npu"
        assert set(registry._statuses) == {"fakedev"}


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("fakdev:cpu", "no backend named 'fakdev' (in 'fakdev:cpu'). Did you mean 'fakedev'?"),
        ("fakedev:cpi", "fakedev has no device 'fakedev:cpi'. Did you mean 'fakedev:cpu'? It has"),
        ("fakedev", "fakedev has no device 'fakedev'."),
        ("", "no backend named ''"),
    ],
)
def test_find_device_that_does_not_exist(site: Any, asked: str, message: str) -> None:
    site.add("fake-dev", source("fakedev"))
    with load_plugins() as registry, pytest.raises(UsageError) as caught:
        registry.find_device(asked)
    assert message in str(caught.value)
    assert caught.value.next_step


def test_unknown_backend_names_the_broken_plugins(site: Any) -> None:
    site.add("fake-broken", "1/0")
    with load_plugins() as registry, pytest.raises(UsageError) as caught:
        registry.probe(["brokn"])
    assert "Broken plugins:" in str(caught.value) and "broken" in str(caught.value)
    assert caught.value.next_step == "hal plugins"


@pytest.mark.parametrize(
    ("case", "error"),
    [("absent", AbsentError), ("unavailable", UnavailableError), ("raise", BrokenError)],
)
def test_find_device_of_a_backend_that_is_not_ready(
    site: Any, case: str, error: type[Exception]
) -> None:
    devices, state, reason, step = STATES[case]
    site.add("fake-dev", source("fakedev", devices))
    with load_plugins() as registry, pytest.raises(error) as caught:
        registry.find_device("fakedev:cpu")
    assert str(caught.value).startswith(f"fakedev is {state.value}: ")
    assert reason in str(caught.value)
    assert caught.value.next_step == step  # type: ignore[attr-defined]


def test_backend_in_this_process(site: Any) -> None:
    site.add("fake-dev", source("fakedev"))
    with load_plugins() as registry:
        backend = registry.backend("fakedev")
        assert [d.id for d in backend.devices()] == ["fakedev:cpu", "fakedev:npu:1"]
        assert registry.backend("fakedev") is backend


@pytest.mark.parametrize(
    ("factory", "more", "error", "message"),
    [
        ("return Fake()", ", requires=['not-there-at-all']", AbsentError, "not-there-at-all"),
        ("raise errors.UnavailableError('no driver')", "", UnavailableError, "no driver"),
        ("import nowhere_at_all", "", BrokenError, "No module named 'nowhere_at_all'"),
    ],
)
def test_backend_in_this_process_that_fails(
    site: Any, factory: str, more: str, error: type[Exception], message: str
) -> None:
    site.add("fake-dev", source("fakedev", factory=factory, more=more))
    with load_plugins() as registry, pytest.raises(error, match=message):
        registry.backend("fakedev")


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_ctrl_c_while_asking_leaves_no_host(site: Any) -> None:
    site.add("fake-hang", source("hanging", "time.sleep(600)"))
    before = children()

    def interrupt() -> None:
        while not children() - before:
            time.sleep(0.02)
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGINT)
        while not done.wait(10):  # Python may lose one inside a finalizer
            os.kill(os.getpid(), signal.SIGINT)

    done = threading.Event()
    thread = threading.Thread(target=interrupt)
    with load_plugins() as registry:
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            try:
                registry.probe(["hanging"], timeout=3600)
            finally:
                done.set()
    thread.join()
    assert children() == before
