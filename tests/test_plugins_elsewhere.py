"""Backends in an environment of their own: absent until it is there, then served from it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hal
from hal.elsewhere import Record, environments_dir, read_record
from hal.elsewhere._places import digest
from hal.errors import AbsentError, UnavailableError
from hal.plugins import State, load_plugins

PLUGIN = """
import sys
import hal

class Exe:
    def run(self, inputs):
        return inputs

class Backend:
    def devices(self):
        return [hal.Device("aside:npu", "npu", versions={{"prefix": sys.prefix}})]
    def supports(self, device, model):
        return hal.Support()
    def compile(self, device, model, options):
        return Exe()

@hal.hookimpl
def hal_backends():
    environment = hal.EnvironmentSpec("aside-sdk", "aside.lock.txt")
    return [hal.BackendSpec("aside", Backend, requires={requires}, environment=environment)]
"""
NEEDY = "('not-there-at-all',)"


@pytest.fixture
def lock(site: Any) -> Path:
    site.add("fake-aside", PLUGIN.format(requires=NEEDY))
    path: Path = site.path / "aside.lock.txt"
    path.write_text("numpy==1.26.4\n")
    return path


def build(site: Any, lock: Path) -> Path:
    """The environment as `hal env create` leaves it, with this one's NumPy and `hal`."""
    folder = environments_dir() / "aside-sdk"
    command = [sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")]
    subprocess.run(command, check=True)
    (packages,) = folder.glob("venv/[Ll]ib/**/site-packages")
    numpy = Path(np.__file__).parent
    for source in (numpy, numpy.with_name("numpy.libs"), Path(hal.__file__).parent):
        if source.exists():
            (packages / source.name).symlink_to(source, target_is_directory=True)
    # It has what the plugin asks for.
    (packages / "fake_aside.py").write_text(PLUGIN.format(requires="()"))
    Record("aside-sdk", "3", digest(lock), "fake-aside", "1.0", 1, "2026").write(folder)
    return folder


def test_elsewhere_absent_until_it_is_created(site: Any, lock: Path) -> None:
    with load_plugins() as registry:
        status = registry.probe(["aside"])["aside"]
        assert status.state is State.ABSENT
        assert "an environment of its own" in status.reason
        assert status.next_step == "hal env create aside-sdk"
        with pytest.raises(AbsentError):
            registry.backend("aside")


def test_elsewhere_an_sdk_that_is_here_needs_no_environment(site: Any, lock: Path) -> None:
    (site.path / "fake_aside.py").write_text(PLUGIN.format(requires="('numpy',)"))
    with load_plugins() as registry:
        assert registry.backends["aside"].command == ()
        assert registry.probe(["aside"])["aside"].state is State.READY
        assert registry.backend("aside").devices()


@pytest.mark.env
@pytest.mark.skipif(os.name == "nt", reason="needs links")
def test_elsewhere_served_from_its_environment_alone(
    site: Any, lock: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = build(site, lock)
    # Neither the working directory nor the variables of this environment reach into it.
    (tmp_path / "hal.py").write_text("raise SystemExit('the wrong one')")
    monkeypatch.chdir(tmp_path)
    with load_plugins() as registry:
        registered = registry.backends["aside"]
        assert registered.home == "the environment 'aside-sdk'"
        status = registry.probe(["aside"], keep=True)["aside"]
        assert status.state is State.READY, status
        assert Path(status.devices[0].versions["prefix"]) == folder / "venv"
        with registry.host("aside", timeout=20) as host:
            executable = host.compile(status.devices[0], hal.Model(b"m"))
            x = hal.Tensor.from_numpy(np.arange(100_000))
            assert bytes(executable.run({"x": x})["x"].data) == bytes(x.data)  # type: ignore[union-attr]
        with pytest.raises(UnavailableError, match="lives in the environment 'aside-sdk'"):
            registry.backend("aside")


def test_elsewhere_another_lock_file_asks_for_it_anew(site: Any, lock: Path) -> None:
    folder = environments_dir() / "aside-sdk"
    folder.mkdir(parents=True)
    Record("aside-sdk", "3", digest(lock), "fake-aside", "1.0", 1, "2026").write(folder)
    assert load_plugins().backends["aside"].command
    lock.write_text("numpy==1.26.5\n")
    with load_plugins() as registry:
        assert registry.backends["aside"].command == ()
        status = registry.probe(["aside"])["aside"]
        assert status.state is State.ABSENT
        assert "another lock file" in status.reason


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": "hal.environment/2"}', "{}", "\0"])
def test_elsewhere_a_record_that_cannot_be_read_is_none(site: Any, lock: Path, text: str) -> None:
    folder = environments_dir() / "aside-sdk"
    folder.mkdir(parents=True)
    (folder / "environment.json").write_text(text)
    assert read_record("aside-sdk") is None
    assert load_plugins().backends["aside"].command == ()


WRONG = {
    "type": ("'aside-sdk'", "is a str, not an EnvironmentSpec"),
    "name": ("hal.EnvironmentSpec('../x', 'x.lock')", "name '../x'"),
    "lock": ("hal.EnvironmentSpec('x', '../x.lock')", "lock file '../x.lock'"),
    "python": ("hal.EnvironmentSpec('x', 'x.lock', 'three')", "'three' is no version specifier"),
}


@pytest.mark.parametrize(("text", "reason"), WRONG.values(), ids=WRONG.keys())
def test_elsewhere_a_wrong_spec_is_a_broken_plugin(site: Any, text: str, reason: str) -> None:
    old = 'hal.EnvironmentSpec("aside-sdk", "aside.lock.txt")'
    site.add("fake-aside", PLUGIN.format(requires=NEEDY).replace(old, text))
    (status,) = [p for p in load_plugins().plugins if p.name == "aside"]
    assert status.state is State.BROKEN
    assert reason in status.reason
