"""The table of providers, and which of them become devices."""

from __future__ import annotations

import subprocess
import sys

import hal_onnxruntime
import onnx
import onnxruntime
import pytest
from hal_onnxruntime._providers import NO_DEVICE, PROVIDERS, of_provider
from hal_onnxruntime._start import MOST_DEVICES, PROBE_MODEL, found_devices

from hal import Device
from hal.errors import UnavailableError, UsageError


def test_import_is_lazy():
    code = (
        "import hal_onnxruntime, sys; hal_onnxruntime.hal_backends(); "
        "sys.exit('onnxruntime' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_factory_works_again_once_its_modules_are_loaded():
    for _ in range(2):
        assert hal_onnxruntime.hal_backends()[0].factory().devices()


def test_cpu_is_a_device_and_azure_is_none(ort):
    devices = {device.id: device for device in ort.devices()}
    assert devices["ort:cpu"].unavailable == ""
    assert devices["ort:cpu"].kind == "cpu"
    assert devices["ort:cpu"].versions["onnxruntime"] == onnxruntime.__version__
    assert not any("azure" in id_ for id_ in devices)


def test_table_knows_every_provider_of_this_onnxruntime():
    known = {row.provider for row in PROVIDERS} | set(NO_DEVICE)
    dropped = {"ArmNNExecutionProvider"}  # by onnxruntime 1.24
    assert set(onnxruntime.get_all_providers()) - dropped <= known


def test_table_has_no_device_twice():
    names = [row.device for row in PROVIDERS]
    assert len(names) == len(set(names))
    for row in PROVIDERS:
        Device(f"ort:{row.device}", row.kind)


def test_a_provider_that_the_table_does_not_know_gets_a_name():
    (row,) = of_provider("FooBarExecutionProvider")
    assert row.device == "foobar"


def test_probe_model_is_one_add():
    model = onnx.load_from_string(PROBE_MODEL.data)
    onnx.checker.check_model(model)
    assert [node.op_type for node in model.graph.node] == ["Add"]


@pytest.mark.parametrize("provider", ["CUDAExecutionProvider", "FooBarExecutionProvider"])
def test_a_provider_that_does_not_start_is_listed_with_its_reason(monkeypatch, provider, capfd):
    if provider in onnxruntime.get_available_providers():
        pytest.skip(f"this onnxruntime has {provider}")
    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: [provider, "CPUExecutionProvider"]
    )
    with pytest.warns(UserWarning, match="not in available provider names"):
        devices = list(found_devices())
    assert [device.id for device in devices][:1] == ["ort:cpu"]
    dead = devices[1]
    assert dead.unavailable.startswith(f"{provider} does not start: ")
    assert len(devices) == 2 < MOST_DEVICES
    assert capfd.readouterr().out == ""


def test_none_that_starts_is_unavailable(monkeypatch, ort):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["AzureExecutionProvider"])
    with pytest.raises(UnavailableError):
        ort.devices()


def test_unknown_device_gets_a_suggestion(ort, relu):
    with pytest.raises(UsageError, match="Did you mean 'ort:cpu'"):
        ort.compile(Device("ort:cpi", "cpu"), relu, {})


def test_a_device_of_another_wheel_is_unavailable(ort, relu):
    if "CANNExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CANN")
    with pytest.raises(UnavailableError, match="CANNExecutionProvider"):
        ort.compile(Device("ort:cann", "npu"), relu, {})


def test_telemetry_and_noise_are_off():
    code = (
        "import sys\n"
        "sys.addaudithook(lambda event, args: event.startswith(('socket.connect', "
        "'socket.getaddrinfo')) and sys.exit(f'{event} {args}'))\n"
        "import hal_onnxruntime\n"
        "print(*[d.id for d in hal_onnxruntime.hal_backends()[0].factory().devices()])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "ort:cpu" in done.stdout.split()
    assert done.stderr == ""
