"""The table of vendors: complete, truthful about plugins, and the same as in the docs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hal.cli import main
from hal.elsewhere import Record, environments_dir
from hal.vendors import Verified, find_vendor, inspect, markdown, vendors

ROOT = Path(__file__).parents[1]

ASKED_FOR = (
    "nvidia cuda tensorrt amd rocm migraphx hygon ascend cann mindspore cambricon moore-threads "
    "metax sophgo bitmain google-tpu intel-gpu intel-npu apple qualcomm adreno rockchip ethos fpga "
    "phone"
)


@pytest.mark.parametrize("name", ASKED_FOR.split())
def test_vendor_has_a_row(name: str) -> None:
    assert find_vendor(name.upper()) is find_vendor(name) is not None


def test_names_and_aliases_are_one_vendors() -> None:
    names = [n for v in vendors() for n in (v.name, *v.aliases)]
    assert len(names) == len(set(names))
    assert find_vendor("no-such-vendor") is None


def test_named_plugins_are_in_this_tree() -> None:
    bundled = {folder.name for folder in (ROOT / "plugins").iterdir()}
    named = {r.plugin for v in vendors() for r in v.routes if r.plugin}
    assert named <= bundled


def test_route_without_a_plugin_claims_nothing() -> None:
    for vendor in vendors():
        for route in vendor.routes:
            assert bool(route.devices) == bool(route.plugin)
            if not route.plugin:
                assert route.note and route.verified is Verified.NOT_YET


def test_docs_hold_the_table() -> None:
    page = (ROOT / "docs" / "vendors.md").read_text(encoding="utf-8")
    assert page.partition("<!-- table -->\n")[2] == markdown(), (
        "docs/vendors.md is stale: replace what follows <!-- table --> by python -m hal.vendors"
    )


def test_need_is_found_by_path_command_and_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vendor = find_vendor("cambricon")
    assert vendor is not None
    assert not any(f.found for f in inspect(vendor) if not f.devices)
    command = tmp_path / "cnmon"
    command.write_text("#!/bin/sh\n", encoding="utf-8")
    command.chmod(0o755)
    library = tmp_path / "libcnrt.so.6"
    library.write_text("", encoding="utf-8")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    found = {f.what: f.found for f in inspect(vendor)}
    assert found["MLU driver"] == str(command)
    assert found["Neuware"] == str(library)
    assert found["torch-mlu"] == ""


def test_an_environment_of_its_own_is_a_need(
    site: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    site.add("fake-torch", NPU.replace("REASON", "''"))
    monkeypatch.setenv("HAL_HOME", str(tmp_path))
    assert main(["doctor", "rockchip"]) == 1
    out = capsys.readouterr().out
    assert "environment rknn is missing" in out and "next: hal env create rknn" in out
    folder = environments_dir() / "rknn"
    folder.mkdir(parents=True)
    Record("rknn", "3.11.7", "lock", "hal-rknn", "1", 10, "today").write(folder)
    vendor = find_vendor("rockchip")
    assert vendor is not None
    assert "made with Python 3.11.7" in {f.found for f in inspect(vendor)}


NPU = """
import hal

class Fake:
    def devices(self):
        return [hal.Device("torch:npu:0", "npu", name="910B", unavailable=REASON)]
    def supports(self, device, model):
        return hal.Support()
    def compile(self, device, model, options):
        raise hal.errors.UnsupportedError("nothing")

@hal.hookimpl
def hal_backends():
    return [hal.BackendSpec("torch", Fake)]
"""


def test_doctor_lists_what_is_missing_first_things_first(
    site: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    site.add("fake-torch", NPU.replace("REASON", "'no libhccl.so'"))
    assert main(["doctor", "huawei", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "hal.doctor/1" and not document["ok"]
    assert document["vendor"]["devices"] == [{"id": "torch:npu:0", "unavailable": "no libhccl.so"}]
    assert "Ascend driver is missing" in document["problems"][0]["message"]
    assert "npu-smi" in document["problems"][0]["next_step"]
    main(["doctor", "torch"])
    assert "torch:npu:0 910B unavailable: no libhccl.so" in capsys.readouterr().out


def test_doctor_is_content_with_a_device_that_can_be_used(
    site: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    site.add("fake-torch", NPU.replace("REASON", "''"))
    assert main(["doctor", "ascend"]) == 0
    out = capsys.readouterr().out
    assert "device: torch:npu:0 910B" in out
    assert "no problem found" in out
    assert "on a simulated PyTorch device" in out


def test_doctor_says_that_there_is_no_plugin(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "ethos"]) == 1
    assert "HAL has no plugin for it yet" in capsys.readouterr().out


def test_doctor_has_a_row_a_vendor(site: Any, capsys: pytest.CaptureFixture[str]) -> None:
    site.add("fake-torch", NPU.replace("REASON", "''"))
    main(["doctor", "--json"])
    rows = json.loads(capsys.readouterr().out)["vendors"]
    assert [row["name"] for row in rows] == [v.name for v in vendors()]
    assert all(row["missing"] and row["verified"] for row in rows)
