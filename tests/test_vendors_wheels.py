"""Vendors' real wheels without their drivers end as `unavailable` with the right reason: neither a
broken `import torch` nor a silent run on the CPU. Each is installed in a folder of its own."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [
    pytest.mark.env,
    pytest.mark.slow,
    pytest.mark.skipif(
        (sys.platform, platform.machine()) != ("linux", "x86_64"), reason="wheels for x86-64 Linux"
    ),
    pytest.mark.skipif(
        not (3, 11) <= sys.version_info[:2] <= (3, 12), reason="wheels for Python 3.11 and 3.12"
    ),
]


def torch_release() -> str:
    """The release of torch that is installed here, "" if there is none: torch-npu needs its own."""
    try:
        return importlib.metadata.version("torch").partition("+")[0]
    except importlib.metadata.PackageNotFoundError:
        return ""


class Wheels:
    """An environment that sees the wheels of a folder before what is installed here."""

    def __init__(self, folder: Path, *wheels: str) -> None:
        command = ["pip", "install", "--quiet", "--no-deps", "--target", str(folder / "site")]
        self.env = {**os.environ, "HAL_HOME": str(folder / "home")}
        self.env.pop("TORCH_DEVICE_BACKEND_AUTOLOAD", None)
        done = self.run(*command, *wheels)
        assert done.returncode == 0, done.stderr
        self.env["PYTHONPATH"] = str(folder / "site")

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", *command],
            env=self.env,
            capture_output=True,
            text=True,
            timeout=300,
            stdin=subprocess.DEVNULL,
        )

    def devices(self, backend: str) -> dict[str, str]:
        """The devices by id, with the reason of those that are unavailable."""
        done = self.run("hal", "doctor", "ascend", "--json")
        document: dict[str, Any] = json.loads(done.stdout)
        assert done.returncode == 1 and not document["ok"]
        listed = self.run("hal", "devices", "--backend", backend, "--json")
        usable = {d["id"]: "" for d in json.loads(listed.stdout)["devices"] if not d["unavailable"]}
        return usable | {d["id"]: d["unavailable"] for d in document["vendor"]["devices"]}


@pytest.mark.skipif(not torch_release(), reason="torch is not installed")
def test_torch_npu_without_cann(tmp_path: Path) -> None:
    wheels = Wheels(tmp_path, f"torch-npu=={torch_release()}")
    assert wheels.run("torch.utils.collect_env").returncode != 0, "torch imports: nothing to test"
    devices = wheels.devices("torch")
    assert devices["torch:cpu"] == ""
    assert "libhccl.so" in devices["torch:npu"] and "set_env.sh" in devices["torch:npu"]
    done = wheels.run("hal", "conformance", "-d", "torch:npu", "-k", "test_relu")
    assert done.returncode == 5
    assert "torch:npu is unavailable" in done.stderr and "libhccl.so" in done.stderr
    ran = wheels.run("hal", "conformance", "-d", "torch:cpu", "-k", "onnx/node/test_relu")
    assert ran.returncode == 0, ran.stderr


def test_onnxruntime_cann_without_cann(tmp_path: Path) -> None:
    wheels = Wheels(tmp_path, "onnxruntime-cann==1.24.4", "numpy==1.26.4")
    devices = wheels.devices("ort")
    assert devices["ort:cpu"] == ""
    assert "libascendcl.so" in devices["ort:cann"]
    done = wheels.run("hal", "conformance", "-d", "ort:cann", "-k", "test_relu")
    assert done.returncode == 5
    assert "ort:cann is unavailable" in done.stderr and "libascendcl.so" in done.stderr
