"""What is listed, and a device that torch knows only through the PrivateUse1 key."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hal_conformance.case import load_suite
from hal_conformance.judge import run_case
from hal_torch import hal_backends
from hal_torch.devices import FAMILIES, cuda_vendor
from hal_torch.kernels import TABLE

from hal.host import Host
from hal.outcome import Outcome

PASSTHROUGH = Path(__file__).with_name("passthrough")
(SPEC,) = hal_backends()


def host(*paths: Path) -> Host:
    return Host("hal_torch", "torch", env={"PYTHONPATH": ":".join(map(str, paths))})


def test_cpu_is_described(torch_cpu):
    assert (torch_cpu.kind, torch_cpu.unavailable) == ("cpu", "")
    assert torch_cpu.memory > 1 << 28
    assert torch_cpu.versions["torch"]


def test_importing_the_plugin_imports_no_torch():
    code = "import sys, hal_torch; hal_torch.hal_backends(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_table_names_each_type_once():
    names = [family.name for family in FAMILIES]
    assert len(set(names)) == len(names)
    assert {"cuda", "xpu", "mps", "npu", "mlu", "musa", "gcu", "hpu", "xla"} <= set(names)


@pytest.mark.parametrize(
    ("name", "hip", "vendor"),
    [
        ("NVIDIA H100 80GB HBM3", False, "NVIDIA"),
        ("Tesla V100-SXM2-16GB", False, "NVIDIA"),
        ("AMD Instinct MI300X", True, "AMD"),
        ("Radeon RX 7900 XTX", True, "AMD"),
        ("K100_AI", True, "Hygon"),
        ("Device 66a1", True, "AMD"),
        ("Device 2330", False, "NVIDIA"),
    ],
)
def test_vendor_of_what_calls_itself_cuda(name, hip, vendor):
    assert cuda_vendor(name, hip=hip) == vendor


def site(folder: Path, files: dict[str, str], entry: str = "") -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    if entry:
        info = folder / "vendor-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: vendor\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[torch.backends]\n{entry}\n")
    return folder


def test_module_that_cannot_start_is_unavailable_and_spoils_nothing(tmp_path):
    text = "raise ImportError('libhccl.so: cannot open shared object file')"
    broken = site(tmp_path, {"torch_npu/__init__.py": text}, entry="npu = torch_npu:_autoload")
    with host(broken) as served:
        devices = {d.id: d for d in served.devices()}
    assert devices["torch:cpu"].unavailable == ""
    reason = devices["torch:npu"].unavailable
    assert "libhccl.so" in reason and "set_env.sh" in reason
    assert devices["torch:npu"].vendor == "Huawei"


def test_entry_point_that_fails_is_unavailable(tmp_path):
    broken = site(
        tmp_path, {"vendor.py": "def load(): raise OSError('no driver')"}, "odd = vendor:load"
    )
    with host(broken) as served:
        devices = {d.id: d.unavailable for d in served.devices()}
    assert devices["torch:cpu"] == ""
    assert "no driver" in devices["torch:odd"]


PATTERNS = (
    "abs", "add_bcast", "matmul_2d", "basic_conv_with_padding", "maxpool_2d_default",
    "batchnorm_example", "layer_normalization_2d_axis1", "softmax_example", "gather_0",
    "reshape_reordered_all_dims", "reduce_sum_default_axes_keepdims_random", "lstm_defaults",
    "where_example", "top_k", "resize_upsample_scales_nearest", "nonzero_example", "cumsum_1d",
    "cast_FLOAT_to_BFLOAT16",
    "quantizelinear", "einsum_batch_matmul", "range_float_type_positive_delta",
    "attention_4d", "argmax_keepdims_example", "scatternd", "reflect_pad",
    "bitwise_and_ui64_bcast_3v1d",
    "gru_defaults",
    "nonmaxsuppression_identical_boxes", "loop11", "dft", "tril", "concat_1d_axis_0",
)  # fmt: skip


def test_cases_run_on_a_device_of_another_name():
    suite = load_suite("onnx")
    with host(PASSTHROUGH) as served:
        device = next(d for d in served.devices() if d.id == "torch:paper:0")
        assert device.kind == "npu"
        results = [
            run_case(suite.load(f"onnx/node/test_{name}"), device, SPEC, served, {})
            for name in PATTERNS
        ]
    failed = [f"{r.id}: {r.outcome} {r.reason}" for r in results if r.outcome is not Outcome.PASS]
    assert not failed


def test_strings_fall_back_to_the_host_and_say_so():
    suite = load_suite("onnx")
    with host(PASSTHROUGH) as served:
        device = next(d for d in served.devices() if d.id == "torch:paper:0")
        case = suite.load("onnx/node/test_string_concat")
        result = run_case(case, device, SPEC, served, {})
    assert result.outcome is Outcome.FALLBACK
    assert "torch:cpu" in result.reason


def test_only_strings_images_and_maps_compute_on_the_host():
    without_types = {
        *("ImageDecoder", "StringConcat", "StringSplit", "StringNormalizer", "RegexFullMatch"),
        *("LabelEncoder", "CategoryMapper", "CastMap", "DictVectorizer", "ZipMap"),
    }
    host = [row for row in TABLE if row.host_only]
    for row in host:
        types = {t for allowed in row.types.values() for t in allowed}
        assert "tensor(string)" in types or row.op_type in without_types, row
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    assert f"They are {len(host)}\nof the {len(TABLE)} rows" in readme


def passes(devices, report, env):
    """How many official cases pass on each device."""
    command = [sys.executable, "-m", "hal", "conformance", "--json", str(report)]
    command += [word for device in devices for word in ("-d", device)]
    done = subprocess.run(
        command, env={**os.environ, **env}, capture_output=True, text=True, check=False
    )
    assert report.exists(), done.stderr
    reports = json.loads(report.read_text())["reports"]
    return {r["device"]["id"]: r["outcomes"]["pass"] for r in reports}


@pytest.mark.slow
def test_other_device_passes_nearly_all_that_the_cpu_passes(tmp_path):
    devices = ["torch:cpu", "torch:paper:0"]
    passed = passes(devices, tmp_path / "report.json", {"PYTHONPATH": str(PASSTHROUGH)})
    assert passed["torch:paper:0"] >= 0.95 * passed["torch:cpu"] > 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_nvidia_gpu_passes_nearly_all_that_the_cpu_passes(tmp_path):
    passed = passes(["torch:cpu", "torch:cuda:0"], tmp_path / "report.json", {})
    assert passed["torch:cuda:0"] >= 0.95 * passed["torch:cpu"] > 0
