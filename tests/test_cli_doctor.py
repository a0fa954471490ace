"""`hal doctor`: what clashes here, and the command that mends it."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path
from typing import Any

import pytest

from hal.cli import _diagnosis, main

GOOD = """
import hal

class Fake:
    def devices(self):
        return [hal.Device(id="fakedev:cpu", kind="cpu", name="A device")]
    def supports(self, device, model):
        return hal.Support()
    def compile(self, device, model, options):
        raise NotImplementedError

@hal.hookimpl
def hal_backends():
    return [hal.BackendSpec("fakedev", Fake, summary="a fake", requires=("fake-sdk",))]
"""


@pytest.fixture
def no_onnxruntime(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hides the wheel that is really installed."""
    real = importlib.metadata.distributions

    def distributions(**options: Any) -> list[importlib.metadata.Distribution]:
        return [
            d
            for d in real(**options)
            if d.metadata["Name"] != "onnxruntime" or str(d.locate_file("")) == str(site.path)
        ]

    monkeypatch.setattr(importlib.metadata, "distributions", distributions)


def owned(site: Any, name: str, version: str, **options: Any) -> None:
    site.add(name, version=version, group="", files=["onnxruntime/__init__.py"], **options)


@pytest.mark.usefixtures("no_onnxruntime")
@pytest.mark.parametrize("record", [True, False])
def test_onnxruntime_wheels_overwrite_one_another(site: Any, record: bool) -> None:
    owned(site, "onnxruntime-gpu", "1.31.0", record=record)
    owned(site, "onnxruntime-openvino", "1.30.0", record=record)
    (problem,) = _diagnosis.check_onnxruntime_wheels()
    assert "onnxruntime-gpu 1.31.0 and onnxruntime-openvino 1.30.0 overwrite" in problem.message
    assert problem.next_step == (
        "pip uninstall -y onnxruntime-gpu onnxruntime-openvino && "
        "pip install onnxruntime-gpu==1.31.0 (if you want onnxruntime-openvino, name that instead)"
    )


@pytest.mark.usefixtures("no_onnxruntime")
def test_the_special_onnxruntime_wheel_is_the_one_to_keep(site: Any) -> None:
    owned(site, "onnxruntime", "1.31.1")
    owned(site, "onnxruntime-gpu", "1.31.0")
    (problem,) = _diagnosis.check_onnxruntime_wheels()
    assert "pip install onnxruntime-gpu==1.31.0" in problem.next_step


@pytest.mark.usefixtures("no_onnxruntime")
def test_a_plugin_provider_does_not_clash(site: Any) -> None:
    site.add("onnxruntime-qnn", version="2.7.0", group="", files=["onnxruntime_qnn/__init__.py"])
    site.add("onnxruntime-extensions", version="1", group="")
    (site.path / "onnxruntime").mkdir()
    (site.path / "onnxruntime" / "__init__.py").write_text("", encoding="utf-8")
    owned(site, "onnxruntime", "1.31.1")
    assert _diagnosis.check_onnxruntime_wheels() == []


@pytest.mark.usefixtures("no_onnxruntime")
def test_onnxruntime_whose_files_another_wheel_took_away(site: Any) -> None:
    owned(site, "onnxruntime", "1.31.1")
    (problem,) = _diagnosis.check_onnxruntime_wheels()
    assert "1 of its files are gone" in problem.message
    assert "--force-reinstall --no-deps onnxruntime==1.31.1" in problem.next_step


def test_requirements_that_do_not_hold(site: Any) -> None:
    site.add(
        "fake-needs",
        GOOD,
        requires=[
            "numpy>=999",
            "not-there-at-all>=2",
            "numpy>=1",
            "never; python_version < '3'",
            "extra-only; extra == 'x'",
        ],
    )
    found = {(p.message, p.next_step) for p in _diagnosis.check_requirements()}
    numpy = importlib.metadata.version("numpy")
    assert {f for f in found if "fake-needs" in f[0]} == {
        (
            f"fake-needs requires numpy>=999, and {numpy} is installed",
            "pip install 'numpy>=999'",
        ),
        (
            "fake-needs requires not-there-at-all>=2, which is not installed",
            "pip install 'not-there-at-all>=2'",
        ),
    }


def test_requirements_of_a_named_sdk(site: Any) -> None:
    site.add("fake-sdk", group="", requires=["numpy>=999"])
    assert not [p for p in _diagnosis.check_requirements() if "fake-sdk" in p.message]
    assert [p for p in _diagnosis.check_requirements(["Fake_SDK"]) if "fake-sdk" in p.message]


@pytest.mark.skipif(not _diagnosis.versions().get("torch"), reason="torch is not installed")
def test_torch_broken_by_a_backend_that_it_loads_by_itself(
    site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # hal-torch sets it where it imports torch, which may be this very process.
    monkeypatch.delenv("TORCH_DEVICE_BACKEND_AUTOLOAD", raising=False)
    assert _diagnosis.check_torch_autoload() == []
    source = "def autoload():\n    raise ImportError('libhccl.so: cannot open shared object file')"
    site.add("torch-npu", source, group="torch.backends", entry="torch_npu:autoload")
    (problem,) = _diagnosis.check_torch_autoload()
    assert "while it loads torch-npu by itself" in problem.message
    assert "libhccl.so" in problem.message
    assert problem.next_step.startswith("export TORCH_DEVICE_BACKEND_AUTOLOAD=0")


def test_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("HAL_HOME", str(tmp_path / "file"))
    cache, data = _diagnosis.check_folders()
    assert "cannot be written" in cache.message and "HAL_HOME" in cache.next_step
    assert "data" in data.message


def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAL_HOME", str(tmp_path))
    monkeypatch.setattr(_diagnosis, "_LEAST_FREE", 1 << 80)
    assert "left on its disk" in _diagnosis.check_folders()[0].message


def test_absent_backend_is_a_problem_only_when_named(
    site: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    site.add("fake-dev", GOOD)
    assert main(["doctor", "fakedev", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == "hal.doctor/1"
    assert found["ok"] is False
    assert found["backends"][0]["state"] == "absent"
    assert {
        "check": "backends",
        "message": "backend fakedev is absent: fake-sdk not installed",
        "next_step": "pip install fake-sdk",
    } in found["problems"]


@pytest.mark.parametrize("name", ["fakedev", "fakedev:cpu", "fake-dev", "dev"])
def test_ready_backend_in_detail(site: Any, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    site.add("fake-dev", GOOD)
    site.add("fake-sdk", group="")
    main(["doctor", name])
    out = capsys.readouterr().out
    assert "a fake" in out
    assert "fake-dev 1.0 (fake_dev)" in out
    assert "fakedev:cpu A device" in out


def test_broken_plugin_with_its_traceback(site: Any, capsys: pytest.CaptureFixture[str]) -> None:
    site.add("fake-broken", "import nowhere_at_all")
    assert main(["doctor", "fake-broken"]) == 1
    out = capsys.readouterr().out
    assert "problem: plugin broken is broken: importing fake_broken failed" in out
    assert "Traceback" in out


def test_unknown_name(capsys: pytest.CaptureFixture[str], site: Any) -> None:
    site.add("fake-dev", GOOD)
    assert main(["doctor", "fakdev"]) == 2
    err = capsys.readouterr().err
    assert "no backend, plugin or vendor 'fakdev'. Did you mean 'fakedev'?" in err
