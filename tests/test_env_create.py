"""`hal env`: an environment is built from a plugin's lock file by pip, registered, and removed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hal.cli import main
from hal.elsewhere import environments_dir, read_record

pytestmark = [
    pytest.mark.env,
    pytest.mark.skipif(os.name == "nt", reason="needs signals"),
]
PLUGIN = """
import hal

class Exe:
    def run(self, inputs):
        return inputs

class Backend:
    def devices(self):
        import tiny_sdk
        return [hal.Device("tiny:npu", "npu", versions={"tiny-sdk": tiny_sdk.VERSION})]
    def supports(self, device, model):
        return hal.Support()
    def compile(self, device, model, options):
        return Exe()

@hal.hookimpl
def hal_backends():
    environment = hal.EnvironmentSpec("tiny", "tiny.lock.txt")
    return [hal.BackendSpec("tiny", Backend, requires=("tiny-sdk",), environment=environment)]
"""
LOCK = "# made up\nnumpy==0.1\ntiny-sdk==1.5  # the SDK\nelse==1; python_version < '3'\n"


def wheel(folder: Path, name: str, version: str, files: dict[str, str]) -> Path:
    """A wheel without dependencies, as pip takes it."""
    stem = f"{name.replace('-', '_')}-{version}"
    info = f"{stem}.dist-info"
    files = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": "",
    }
    path = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in files.items():
            archive.writestr(file, text)
    return path


class Shop:
    """The plugin hal-tiny, installed here, and a folder in which pip finds what its lock names."""

    def __init__(self, site: Any, wheels: Path) -> None:
        self.site, self.wheels = site, wheels
        self.lock = site.path / "tiny.lock.txt"
        site.add("hal-tiny", PLUGIN)
        self.lock.write_text(LOCK)
        wheels.mkdir()
        # This environment's NumPy, in a build whose version has a local part, as torch's have.
        path = str(Path(np.__file__).parents[1])
        wheel(wheels, "numpy", "0.1+here", {"numpy.pth": path + "\n"})

    def stock(self, text: str = "VERSION = '1.5'\n") -> Path:
        return wheel(self.wheels, "tiny-sdk", "1.5", {"tiny_sdk.py": text})


@pytest.fixture
def shop(site: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    made = Shop(site, tmp_path / "wheels")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(made.wheels))
    return made


def listed(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["env", "list", "--json"]) == 0
    environments = json.loads(capsys.readouterr().out)["environments"]
    (found,) = [e for e in environments if e["name"] == "tiny"]
    return dict(found)


def test_env_from_nothing_to_devices_and_back(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    assert listed(capsys)["state"] == "absent"

    # What the lock names is not to be had: the step is named, and nothing is registered.
    assert main(["env", "create", "tiny"]) == 5
    told = capsys.readouterr().err
    assert "failed at step 3 of 5, install tiny-sdk==1.5: ERROR: No matching distribution" in told
    assert "next: hal env create tiny" in told
    log = environments_dir() / "tiny" / "create.log"
    assert str(log) in told
    assert "No matching distribution found for tiny-sdk==1.5" in log.read_text()
    state = listed(capsys)
    assert (state["state"], state["next_step"]) == ("unfinished", "hal env create tiny")

    # An SDK that does not start: the environment is of no use, so it is not registered either.
    shop.stock("raise OSError('libtiny.so.1 is missing')\n")
    assert main(["env", "create", "tiny"]) == 5
    told = capsys.readouterr().err
    assert "failed at step 3 of 3, ask for its devices: tiny: " in told
    assert "libtiny.so.1 is missing" in told
    assert read_record("tiny") is None
    packages = next(environments_dir().glob("tiny/venv/lib/*/site-packages"))
    assert "Traceback" in log.read_text()

    # An installation that was cut short is made again, and what was whole stays.
    shop.stock()
    (packages / "tiny_sdk-1.5.dist-info" / "RECORD").unlink()
    assert main(["env", "create", "tiny"]) == 0
    printed = capsys.readouterr()
    assert "2 distributions, 1 installed now" in printed.out and "devices: tiny:npu" in printed.out
    assert "step 1 of 3: install tiny-sdk==1.5" in printed.err
    state = listed(capsys)
    assert state["state"] == "ready" and state["backends"] == ["tiny"] and state["size"] > 1000

    assert main(["devices", "--backend", "tiny", "--json"]) == 0
    (device,) = json.loads(capsys.readouterr().out)["devices"]
    assert device["id"] == "tiny:npu" and device["versions"] == {"tiny-sdk": "1.5"}

    assert main(["env", "create", "tiny"]) == 0
    assert "all there already" in capsys.readouterr().out

    # Another lock file of the plugin, as after an upgrade.
    shop.lock.write_text(LOCK.replace("# made up", "# made anew"))
    assert listed(capsys)["state"] == "stale"
    assert main(["devices", "--backend", "tiny"]) == 0
    assert "another lock file" in capsys.readouterr().out

    # A removal that was cut short leaves nothing behind either.
    (environments_dir() / ".tiny.0123").mkdir()
    assert main(["env", "remove", "tiny"]) == 0
    assert not environments_dir().exists()
    assert listed(capsys)["state"] == "absent"


class _Silence(BaseHTTPRequestHandler):
    """Takes a request for a list of wheels, and never answers until the test is over."""

    asked = threading.Event()
    over = threading.Event()

    def do_GET(self) -> None:
        self.asked.set()
        self.over.wait(120)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def silence() -> Iterator[str]:
    _Silence.asked.clear()
    _Silence.over.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Silence)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    _Silence.over.set()
    server.shutdown()
    thread.join()
    server.server_close()


def start(*arguments: str, **env: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "hal", *arguments],
        env={**os.environ, **env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_env_interrupted_and_two_at_once(
    shop: Shop, silence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first build hangs in a download; the second waits for it, and goes on when it is ended
    by Ctrl-C."""
    shop.stock()
    first = start("env", "create", "tiny", PIP_FIND_LINKS=silence)
    second = None
    try:
        assert _Silence.asked.wait(60)
        second = start("env", "create", "tiny")
        assert second.stderr
        assert second.stderr.readline() == "waiting for the process that builds tiny\n"
        os.killpg(first.pid, signal.SIGINT)  # as a terminal does
        _, told = first.communicate(timeout=30)
        assert first.returncode == 130
        assert "interrupted; hal env create tiny goes on from there" in told
        assert "Traceback" not in told
        out, told = second.communicate(timeout=60)
        assert second.returncode == 0, told
        assert "2 installed now" in out and "make an environment" not in told
    finally:
        for process in filter(None, (first, second)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    assert listed(capsys)["state"] == "ready"
