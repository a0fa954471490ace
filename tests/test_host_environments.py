"""A host in an environment that holds NumPy, `hal` and the plugin, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import hal
from hal import ElementType, Tensor
from hal.errors import AbsentError
from hal.host import Host

PLUGIN = """
import importlib.util, sys
import hal

FOREIGN = ["pluggy", "psutil", "onnx", "rich", "typer", "platformdirs", "packaging", "ml_dtypes"]

class Exe:
    def run(self, inputs):
        found = [name for name in FOREIGN if importlib.util.find_spec(name)]
        return {**inputs, "found": hal.Tensor.from_numpy(found)}

class Backend:
    def devices(self): return [hal.Device("lone:cpu", "cpu", versions={"python": sys.prefix})]
    def supports(self, device, model): return hal.Support()
    def compile(self, device, model, options): return Exe()

@hal.hookimpl
def hal_backends():
    return [hal.BackendSpec("lone", Backend), hal.BackendSpec("needy", Backend, requires=("onnx",))]
"""


@pytest.fixture(scope="module")
def lone_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment's interpreter; its site-packages links to this one's NumPy and `hal`."""
    home = tmp_path_factory.mktemp("env")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    python = home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    output = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True)
    packages = Path(output.stdout.strip())
    numpy = Path(np.__file__).parent
    for source in (numpy, numpy.with_name("numpy.libs"), Path(hal.__file__).parent):
        if source.exists():
            (packages / source.name).symlink_to(source, target_is_directory=True)
    (packages / "lone_plugin.py").write_text(PLUGIN)
    return python


@pytest.mark.env
def test_host_environments_numpy_and_hal_are_enough(lone_python: Path) -> None:
    with Host("lone_plugin", "lone", command=[str(lone_python), "-m", "hal.host"]) as host:
        (device,) = host.devices()
        assert Path(device.versions["python"]) == lone_python.parent.parent
        executable = host.compile(device, hal.Model(b"m"))
        big = np.arange(100_000, dtype=np.int64)
        packed = Tensor(ElementType.INT4, (3,), memoryview(b"\x21\x0f"))
        got = executable.run({"big": Tensor.from_numpy(big), "packed": packed})
        result, small, found = got["big"], got["packed"], got["found"]
        assert isinstance(result, Tensor) and isinstance(small, Tensor)
        np.testing.assert_array_equal(result.numpy(), big)
        assert (small.element_type, bytes(small.data)) == (ElementType.INT4, b"\x21\x0f")
        assert isinstance(found, Tensor) and found.numpy().tolist() == []


@pytest.mark.env
def test_host_environments_what_is_missing_there_is_absent(lone_python: Path) -> None:
    with Host("lone_plugin", "needy", command=[str(lone_python), "-m", "hal.host"]) as host:
        with pytest.raises(AbsentError, match="needy needs onnx") as caught:
            host.devices()
        assert caught.value.next_step == "pip install onnx"


def test_host_environments_served_side_imports_nothing_of_the_parents(tmp_path: Path) -> None:
    """Also where these are installed they are not loaded: they would cost every host its start."""
    code = (
        "import sys; import hal.host._serve; "
        "print([m for m in ('pluggy', 'psutil', 'onnx', 'subprocess', 'importlib.metadata', "
        "'hal.host._host') if m in sys.modules and m not in before])"
    )
    run = f"import sys, numpy; before = set(sys.modules); {code}"
    output = subprocess.run([sys.executable, "-c", run], check=True, capture_output=True, text=True)
    assert output.stdout.strip() == "[]"


def test_host_environments_files_in_the_working_directory_shadow_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "lone_plugin.py").write_text(PLUGIN)
    (tmp_path / "lone_plugin.py").write_text("raise SystemExit('the wrong one')")
    monkeypatch.chdir(tmp_path)
    with Host("lone_plugin", "lone", env={"PYTHONPATH": str(tmp_path / "plugins")}) as host:
        assert host.devices()[0].id == "lone:cpu"


@pytest.mark.skipif(os.name == "nt", reason="needs a shell")
def test_host_environments_a_login_shell_may_greet(tmp_path: Path) -> None:
    """What a shell prints before it starts the host is passed over, as with ssh."""
    (tmp_path / "lone_plugin.py").write_text(PLUGIN)
    script = f'echo "Welcome to the board"; exec {sys.executable} -m hal.host "$@"'
    command = ["sh", "-c", script, "sh"]
    env = {"PYTHONPATH": str(tmp_path)}
    with Host("lone_plugin", "lone", command=command, env=env) as host:
        assert host.devices()[0].id == "lone:cpu"


def test_host_environments_closing_is_quick(tmp_path: Path) -> None:
    """An idle host sees the end of its input; nobody has to wait until it is killed."""
    (tmp_path / "lone_plugin.py").write_text(PLUGIN)
    host = Host("lone_plugin", "lone", env={"PYTHONPATH": str(tmp_path)})
    host.ping()
    process = host._process
    assert process
    start = time.monotonic()
    host.close()
    assert process._popen.returncode == 0 and time.monotonic() - start < 10
