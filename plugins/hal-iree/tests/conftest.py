"""The backend and its devices; skipped by name where they are not there."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import hal_iree
import pytest

from hal import Device
from hal.backend import Backend


@pytest.fixture(scope="session")
def iree() -> Backend:
    if importlib.util.find_spec("iree") is None:
        pytest.skip("iree-base-compiler and iree-base-runtime are not installed")
    return hal_iree.hal_backends()[0].factory()


@pytest.fixture(scope="session")
def listed(iree: Backend) -> dict[str, Device]:
    return {device.id: device for device in iree.devices()}


@pytest.fixture(params=["iree:cpu", "iree:vulkan"])
def device(request: pytest.FixtureRequest, listed: dict[str, Device]) -> Device:
    found = listed[request.param]
    if found.unavailable:
        pytest.skip(f"{found.id} is unavailable: {found.unavailable}")
    return found


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HAL_HOME", str(tmp_path))
    return tmp_path
