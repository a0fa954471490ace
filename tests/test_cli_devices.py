"""`hal devices` and `hal plugins`, as a person and as a program read them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hal.cli import main
from hal.cli.completion import complete_device, complete_profile, remember_devices
from hal.device import Device

SOURCE = """
import hal
from hal import errors

class Fake:
    def devices(self):
        {body}
    def supports(self, device, model):
        return hal.Support()
    def compile(self, device, model, options):
        raise NotImplementedError

@hal.hookimpl
def hal_backends():
    return [hal.BackendSpec("{name}", Fake)]
"""


@pytest.fixture
def three(site: Any) -> Any:
    ready = (
        'return [hal.Device("readyone:npu:0", "npu", "Chip 9", "Maker", 6 << 30, emulated=True, '
        'versions={"driver": "1.2"})]'
    )
    site.add("fake-ready", SOURCE.format(name="readyone", body=ready))
    no_driver = "raise errors.UnavailableError('no driver', next_step='modprobe it')"
    site.add("fake-off", SOURCE.format(name="offone", body=no_driver))
    site.add("fake-bad", "1/0")
    return site


ASK = ["devices", "--backend", "readyone", "--backend", "offone"]


def test_table(three: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(ASK) == 0
    lines = capsys.readouterr().out.splitlines()
    row = next(line for line in lines if "readyone:npu:0" in line)
    assert row.split() == (
        ["readyone:npu:0", "npu", "Chip", "9", "Maker", "6.0", "GiB", "driver", "1.2", "emulated"]
    )
    row = next(line for line in lines if "offone" in line)
    assert row.split() == ["offone", "unavailable", "no", "driver", "modprobe", "it"]


def test_json(three: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*ASK, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == "hal.devices/1"
    assert found["devices"] == [
        {
            "id": "readyone:npu:0",
            "kind": "npu",
            "name": "Chip 9",
            "vendor": "Maker",
            "memory": 6 << 30,
            "emulated": True,
            "slow": False,
            "versions": {"driver": "1.2"},
            "unavailable": "",
            "precision": "",
            "backend": "readyone",
        }
    ]
    off = next(b for b in found["backends"] if b["name"] == "offone")
    assert (off["state"], off["reason"], off["next_step"], off["devices"]) == (
        ("unavailable", "no driver", "modprobe it", [])
    )


def test_everything_is_listed_without_a_filter(
    three: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["devices"]) == 0
    out = capsys.readouterr().out
    for word in ("readyone:npu:0", "offone", "plugin bad", "ZeroDivisionError"):
        assert word in out
    assert "readyone:npu:0" in complete_device("ready")


def test_unknown_backend(three: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["devices", "--backend", "redyone"]) == 2
    assert "no backend named 'redyone'. Did you mean 'readyone'?" in capsys.readouterr().err


def test_plugins_table_and_traceback(three: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugins"]) == 0
    out = capsys.readouterr().out
    row = next(line for line in out.splitlines() if "fake-ready" in line)
    assert row.split() == (
        ["ready", "fake-ready", "1.0", "fake_ready", "ready", "readyone", "hal_backends"]
    )
    assert "bad is broken: importing fake_bad failed: ZeroDivisionError" in out
    assert "Traceback" not in out
    assert main(["plugins", "-v"]) == 0
    assert "Traceback" in capsys.readouterr().out


def test_plugins_json(three: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugins", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == "hal.plugins/1"
    bad = next(p for p in found["plugins"] if p["name"] == "bad")
    assert bad["state"] == "broken" and "Traceback" in bad["traceback"]


def test_device_completion_without_a_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("HAL_HOME", str(tmp_path / "file"))
    remember_devices([Device("ort:cpu", "cpu")])
    assert complete_device("") == []


def test_profile_completion() -> None:
    assert complete_profile("vis") == ["vision"]
    assert set(complete_profile("")) >= {"core", "vision", "transformer", "quantized", "full"}
