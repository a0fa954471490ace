"""Which devices there are, and why not."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import platform
import subprocess
import sys
from pathlib import Path

import hal_qnn
import pytest

from hal import Device
from hal.cli import main
from hal.errors import AbsentError, UnavailableError, UsageError


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def test_import_is_lazy():
    done = run(
        "import hal_qnn, sys; hal_qnn.hal_backends(); "
        "sys.exit(bool({'onnxruntime', 'onnxruntime_qnn', 'hal_onnxruntime'} & set(sys.modules)))"
    )
    assert done.returncode == 0


def test_the_emulator_is_marked_as_one(emulator):
    assert (emulator.kind, emulator.vendor) == ("npu", "Qualcomm")
    assert emulator.emulated and emulator.slow
    assert emulator.unavailable == ""
    version = importlib.metadata.version("onnxruntime-qnn")
    assert emulator.versions["onnxruntime-qnn"] == version


def test_a_report_says_that_half_precision_was_judged_as_such(emulator, tmp_path, capsys):
    assert emulator.precision == "float16"
    command = ["conformance", "--device", emulator.id, "-k", "test_mul_example"]
    assert main([*command, "--json", str(tmp_path / "report.json")]) == 0
    shown = capsys.readouterr()
    assert "qnn:htp-emulator (emulated, float16)" in shown.out
    assert "computes float32 in float16, and is judged by that type's tolerance" in shown.err
    (report,) = json.loads((tmp_path / "report.json").read_text())["reports"]
    assert report["device"]["precision"] == "float16"
    assert any("computes float32 in float16" in note for note in report["notes"])
    assert [case["outcome"] for case in report["cases"]] == ["pass"]


def test_hardware_is_listed_only_where_there_is_some(qnn, emulator):
    import onnxruntime
    from hal_qnn._backend import PROVIDER

    npu = onnxruntime.OrtHardwareDeviceType.NPU
    here = [d for d in onnxruntime.get_ep_devices() if d.ep_name == PROVIDER]
    expected = any(device.device.type == npu for device in here)
    assert any(device.id == "qnn:htp" for device in qnn.devices()) is expected


def test_no_sdk_is_absent(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "onnxruntime_qnn" else find(name)
    )
    with pytest.raises(AbsentError, match="onnxruntime_qnn") as caught:
        hal_qnn.hal_backends()[0].factory()
    assert "onnxruntime-qnn" in caught.value.next_step


def test_the_emulator_is_for_x86_64_linux(qnn, emulator, monkeypatch):
    if len(qnn.devices()) > 1:
        pytest.skip("this machine has a Hexagon NPU")
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(UnavailableError, match="x86-64 Linux alone"):
        qnn.devices()


def test_a_machine_without_either_says_so(qnn, emulator, monkeypatch):
    from hal_qnn import _backend

    monkeypatch.setattr(_backend, "plugin_devices", lambda provider, library: [])
    with pytest.raises(UnavailableError, match="no Hexagon NPU"):
        qnn.devices()


@pytest.mark.parametrize("name", ["missing.so", "text.so"])
def test_a_library_that_does_not_load_is_unavailable(tmp_path, emulator, name):
    (tmp_path / "text.so").write_text("no library")
    done = run(
        "import onnxruntime_qnn, hal_qnn\n"
        "from hal.errors import UnavailableError\n"
        f"onnxruntime_qnn.get_library_path = lambda: {str(tmp_path / name)!r}\n"
        "try: hal_qnn.hal_backends()[0].factory().devices()\n"
        "except UnavailableError as error: print(error)\n"
    )
    assert done.returncode == 0, done.stderr
    assert "QNNExecutionProvider does not load: " in done.stdout
    assert name in done.stdout


def test_unknown_device_gets_a_suggestion(qnn, relu):
    with pytest.raises(UsageError, match="Did you mean 'qnn:htp-emulator'"):
        qnn.compile(Device("qnn:htp-emulater", "npu"), relu, {})


def test_a_device_that_is_not_here_is_unavailable(qnn, emulator, relu):
    if any(device.id == "qnn:htp" for device in qnn.devices()):
        pytest.skip("this machine has a Hexagon NPU")
    with pytest.raises(UnavailableError, match="qnn:htp is not on this machine"):
        qnn.compile(Device("qnn:htp", "npu"), relu, {})


def test_it_is_no_second_device_of_onnxruntime(emulator):
    """The fixture has registered the library, after which onnxruntime lists it as available."""
    import hal_onnxruntime
    import onnxruntime

    assert "QNNExecutionProvider" in onnxruntime.get_available_providers()
    ort = hal_onnxruntime.hal_backends()[0].factory()
    ids = [device.id for device in ort.devices()]
    assert "ort:cpu" in ids
    assert not [id_ for id_ in ids if "qnn" in id_]


def test_it_is_no_device_of_onnxruntime_when_another_registered_it(emulator):
    done = run(
        "import onnxruntime, onnxruntime_qnn, hal_onnxruntime\n"
        "onnxruntime.register_execution_provider_library(\n"
        "    'QNNExecutionProvider', onnxruntime_qnn.get_library_path())\n"
        "ort = hal_onnxruntime.hal_backends()[0].factory()\n"
        "print(*[device.id for device in ort.devices()])\n"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["ort:cpu"]


def test_it_shares_a_process_with_one_who_registered_it_before(emulator):
    done = run(
        "import onnxruntime, onnxruntime_qnn, hal_qnn\n"
        "onnxruntime.register_execution_provider_library(\n"
        "    'QNNExecutionProvider', onnxruntime_qnn.get_library_path())\n"
        "qnn = hal_qnn.hal_backends()[0].factory()\n"
        "print(*[device.id for device in qnn.devices()])\n"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == "qnn:htp-emulator"


def test_nothing_connects_to_the_network(emulator):
    done = run(
        "import sys\n"
        "sys.addaudithook(lambda event, args: event.startswith(('socket.connect', "
        "'socket.getaddrinfo')) and sys.exit(f'{event} {args}'))\n"
        "import hal_qnn\n"
        "hal_qnn.hal_backends()[0].factory().devices()\n"
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_library_is_the_wheels_own(emulator):
    import onnxruntime_qnn

    assert Path(onnxruntime_qnn.get_library_path()).is_file()
