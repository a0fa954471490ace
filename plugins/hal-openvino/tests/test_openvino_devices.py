"""Devices, options and what the plugin must not do."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from hal import Device, Tensor
from hal.errors import UsageError


def test_import_is_lazy():
    code = (
        "import hal_openvino, sys; hal_openvino.hal_backends(); sys.exit('openvino' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_devices_are_hardware(openvino):
    devices = {device.id: device for device in openvino.devices()}
    assert devices["openvino:cpu"].kind == "cpu"
    assert devices["openvino:cpu"].name
    assert devices["openvino:cpu"].versions["openvino"]
    assert {id_.split(":")[1] for id_ in devices} <= {"cpu", "gpu", "npu"}


@pytest.mark.parametrize(
    "first",
    ["hal_openvino._values", "hal_openvino._backend", "hal_openvino._ports", "hal_openvino"],
    ids=lambda m: m.rpartition(".")[2],
)
def test_nothing_phones_home(tmp_path, tmp_path_factory, first):
    """No connection, no process, nothing written to the home folder; the telemetry package stays
    importable for others."""
    code = """
import json, sys
seen = []
def hook(event, args):
    if event.startswith(("socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.fork")):
        seen.append(event)
sys.addaudithook(hook)
import {first}, hal_openvino
hal_openvino.hal_backends()[0].factory().devices()
before = "openvino_telemetry" in sys.modules
import openvino_telemetry
print(json.dumps([seen, before]))
"""
    # An OpenCL driver that OpenVINO finds has a cache of its own (pocl: in XDG_CACHE_HOME).
    drivers = tmp_path_factory.mktemp("drivers")
    home = {"HOME": str(tmp_path), "LOCALAPPDATA": str(tmp_path), "XDG_CACHE_HOME": str(drivers)}
    quiet = {k: v for k, v in os.environ.items() if k not in ("CI", "TF_BUILD", "JENKINS_URL")}
    done = subprocess.run(
        [sys.executable, "-c", code.replace("{first}", first)],
        capture_output=True,
        text=True,
        env=quiet | home,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[], False]
    assert list(tmp_path.iterdir()) == []


def test_unknown_device_gets_a_suggestion(openvino, relu):
    with pytest.raises(UsageError, match="Did you mean 'openvino:cpu'"):
        openvino.compile(Device("openvino:cpi", "cpu"), relu, {})


def test_default_precision_is_float32(openvino, cpu, relu):
    executable = openvino.compile(cpu, relu, {})
    assert executable._usual.compiled.get_property("INFERENCE_PRECISION_HINT").to_string() == "f32"


@pytest.mark.parametrize(
    ("options", "key", "value"),
    [
        ({"precision": "float32"}, "INFERENCE_PRECISION_HINT", "f32"),
        ({"threads": 1}, "INFERENCE_NUM_THREADS", "1"),
        ({"ov.PERFORMANCE_HINT": "THROUGHPUT"}, "PERFORMANCE_HINT", "THROUGHPUT"),
    ],
    ids=["precision", "threads", "property"],
)
def test_options(openvino, cpu, relu, options, key, value):
    executable = openvino.compile(cpu, relu, options)
    found = executable._usual.compiled.get_property(key)
    assert str(getattr(found, "to_string", lambda: found)()) == value
    got = executable.run({"x": Tensor.from_numpy(np.float32([-1, 0, 1, 2]))})["y"]
    assert got.numpy().tolist() == [0, 0, 1, 2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precisoin": "float32"}, "Did you mean 'precision'"),
        ({"precision": "float31"}, "Did you mean 'float32'"),
        ({"threads": -1}, "count"),
        ({"threads": True}, "count"),
        ({"ov.NO_SUCH_KEY": 1}, "NO_SUCH_KEY"),
    ],
    ids=["name", "choice", "negative", "bool", "property"],
)
def test_bad_option_is_a_usage_error(openvino, cpu, relu, options, message):
    with pytest.raises(UsageError, match=message):
        openvino.compile(cpu, relu, options)
