"""Suites of plugins: what `hal_suites` may return, and a case that runs in a host."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hal import Device
from hal.errors import BrokenError, CrashError, ExecutionError
from hal.host import Host
from hal.outcome import Outcome
from hal.placement import Evidence
from hal.plugins import Registry, State, load_plugins

PLUGIN = """
import os
import hal
from hal.outcome import Outcome
from hal.placement import Evidence
from hal.suite import SuiteCase, SuiteCases, SuiteSpec, Verdict


class Runner:
    def run(self, device, case_id):
        name = case_id.partition("/")[2]
        if name == "dies":
            os.abort()
        if name == "raises":
            raise ValueError("no")
        if name == "lies":
            return "pass"
        return Verdict(Outcome.PASS, Evidence.SOLE, os.environ.get("SUITE_TEST", ""))


class Backend:
    def devices(self):
        return [hal.Device("tested:cpu", "cpu")]


def cases():
    return SuiteCases("1", (SuiteCase("mine/passes", "A", ("part",)),))


@hal.hookimpl
def hal_backends():
    return [hal.BackendSpec("tested", Backend)]


@hal.hookimpl
def hal_suites():
    return RESULT
"""

Install = Callable[[str], Registry]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """install(result): the registry with a plugin whose hal_suites returns that expression."""

    def make(result: str) -> Registry:
        (tmp_path / "hal_tested.py").write_text(PLUGIN.replace("RESULT", result))
        info = tmp_path / "zz_tested-1.0.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: zz-tested\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[hal]\ntested = hal_tested\n")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setenv(
            "PYTHONPATH", str(tmp_path) + os.pathsep + os.environ.get("PYTHONPATH", "")
        )
        monkeypatch.delitem(sys.modules, "hal_tested", raising=False)
        importlib.invalidate_caches()
        return load_plugins()

    return make


GOOD = 'SuiteSpec("mine", "tested", cases, Runner, env={"SUITE_TEST": "seen"})'
DEVICE = Device("tested:cpu", "cpu")


def test_a_suite_is_registered(install: Install) -> None:
    registry = install(f"[{GOOD}]")
    registered = registry.suites["mine"]
    assert registered.module == "hal_tested"
    assert registered.distribution == "zz-tested"
    assert [c.id for c in registered.spec.cases().cases] == ["mine/passes"]


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ("None", "expected an iterable of SuiteSpec, got NoneType"),
        ("['mine']", "got an item of type str"),
        (f"[{GOOD}, {GOOD}]", "returns two suites named 'mine'"),
        ('[SuiteSpec("Mine!", "tested", cases, Runner)]', "suite name 'Mine!'"),
        ('[SuiteSpec("mine", "tested", 1, Runner)]', "cases of suite 'mine' cannot be called"),
        ('[SuiteSpec("mine", "", cases, Runner)]', "no name of a backend"),
        ('[SuiteSpec("torch", "tested", cases, Runner)]', "both provide a suite named 'torch'"),
        ("1 / 0", "hal_suites failed: ZeroDivisionError"),
    ],
)
def test_what_is_no_suite_breaks_the_plugin(install: Install, result: str, said: str) -> None:
    registry = install(result)
    (status,) = (p for p in registry.plugins if p.name == "tested")
    assert status.state is State.BROKEN
    assert said in status.reason
    assert "tested" not in registry.backends
    assert "mine" not in registry.suites


def test_a_case_runs_in_the_host(install: Install) -> None:
    registry = install(f"[{GOOD}]")
    with registry.host("tested", env={"SUITE_TEST": "seen"}) as host:
        verdict = host.run_case("hal_tested", "mine", DEVICE, "mine/passes")
    assert (verdict.outcome, verdict.evidence) == (Outcome.PASS, Evidence.SOLE)
    assert verdict.reason == "seen"


def test_a_case_that_dies_costs_one_case(install: Install) -> None:
    install(f"[{GOOD}]")
    with Host("hal_tested", "tested") as host:
        with pytest.raises(CrashError, match="SIGABRT"):
            host.run_case("hal_tested", "mine", DEVICE, "mine/dies")
        assert host.run_case("hal_tested", "mine", DEVICE, "mine/passes").outcome is Outcome.PASS
        with pytest.raises(ExecutionError, match="ValueError: no"):
            host.run_case("hal_tested", "mine", DEVICE, "mine/raises")
        with pytest.raises(BrokenError, match="returned a str"):
            host.run_case("hal_tested", "mine", DEVICE, "mine/lies")
        with pytest.raises(BrokenError, match="has no suite 'mien'"):
            host.run_case("hal_tested", "mien", DEVICE, "mine/passes")
