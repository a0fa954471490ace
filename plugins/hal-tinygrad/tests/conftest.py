"""The backend and its OpenCL device; skipped by name where there is none."""

from __future__ import annotations

import importlib.util

import hal_tinygrad
import pytest

from hal import Device
from hal.backend import Backend
from hal.errors import UnavailableError


@pytest.fixture(scope="session")
def tinygrad() -> Backend:
    if importlib.util.find_spec("tinygrad") is None:
        pytest.skip("tinygrad is not installed")
    return hal_tinygrad.hal_backends()[0].factory()


@pytest.fixture(scope="session")
def opencl(tinygrad: Backend) -> Device:
    try:
        devices = {device.id: device for device in tinygrad.devices()}
    except UnavailableError as error:
        pytest.skip(f"no OpenCL device: {error}")
    found = devices["tinygrad:cl"]
    if found.unavailable:
        pytest.skip(f"no OpenCL device: {found.unavailable}")
    return found
