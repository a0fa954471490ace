"""The listing: every kind in a process of its own, and a driver that dies costs its own row."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

pytest.importorskip("tinygrad")

from hal_tinygrad import _compat, _devices


def answer(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Let the process that opens a device run `code` instead."""
    real = subprocess.run

    def run(command: list[str], **options: Any) -> Any:
        return real([sys.executable, "-c", code, *command[3:]], **options)

    monkeypatch.setattr(subprocess, "run", run)


def listed(monkeypatch: pytest.MonkeyPatch, code: str) -> dict[str, str]:
    answer(monkeypatch, code)
    return {d.id: d.unavailable for d in _devices.list_devices()}


def test_table_has_every_kind_that_computes() -> None:
    assert {f.name for f in _devices.FAMILIES} == set(_compat.KINDS) - {"DSP"}


def test_crash_of_one_driver_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    code = """
import os, sys
if sys.argv[1] == "CL": os.abort()
if sys.argv[1] != "AMD": print("none here"); sys.exit(3)
print('{"name": "gfx942"}')
"""
    found = listed(monkeypatch, code)
    assert found["tinygrad:amd"] == ""
    assert "ended the process with signal 6" in found["tinygrad:cl"]
    assert found["tinygrad:cpu"] == "none here; next: install clang"
    assert "tinygrad:nv" not in found


def test_opencl_on_a_cpu_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, """print('{"name": "pocl", "kind": "cpu", "driver": "3.1"}')""")
    device = next(d for d in _devices.list_devices() if d.id == "tinygrad:cl")
    assert (device.kind, device.versions["driver"]) == ("cpu", "3.1")
