"""rknn-toolkit2 in its own environment, built by the one command that users have, and the vendor's
simulator in it."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from hal import Device, Evidence, Model, Tensor
from hal.cli import main
from hal.errors import FallbackError, SkewError, UnfedError, UnsupportedError, UsageError
from hal.host import Host
from hal.plugins import Registry, load_plugins

pytestmark = [
    pytest.mark.env,
    pytest.mark.slow,
    pytest.mark.skipif(
        sys.platform != "linux" or platform.machine() != "x86_64",
        reason="the simulator runs on x86-64 Linux",
    ),
    pytest.mark.skipif(
        not (3, 10) <= sys.version_info[:2] <= (3, 12),
        reason="rknn-toolkit2 2.5.0 has no wheel for this Python",
    ),
]
DEVICE = "rknn:rk3588-sim"
SUBSET = {  # cases, and how they end: each kind of outcome that the simulator gives
    "onnx/node/test_sigmoid_example": "pass",
    "onnx/node/test_mul_example": "pass",
    "onnx/simple/test_sign_model": "fallback",
    "onnx/node/test_add_int16": "unsupported",
    "onnx/node/test_add_uint8": "crash",
    "onnx/node/test_abs": "pass",
    "onnx/node/test_cast_FLOAT_to_BFLOAT16": "skew",
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A HAL_HOME with the environment in it. RKNN_HAL_HOME names one to keep between runs."""
    kept = os.environ.get("RKNN_HAL_HOME")
    folder = Path(kept) if kept else tmp_path_factory.mktemp("home")
    older = os.environ.get("HAL_HOME")
    os.environ["HAL_HOME"] = str(folder)
    try:
        assert main(["env", "create", "rknn"]) == 0
        yield folder
        if not kept:
            assert main(["env", "remove", "rknn"]) == 0
    finally:
        if older is None:
            del os.environ["HAL_HOME"]
        else:
            os.environ["HAL_HOME"] = older


@pytest.fixture(scope="module")
def registry(home: Path) -> Iterator[Registry]:
    with load_plugins() as loaded:
        yield loaded


@pytest.fixture(scope="module")
def device(registry: Registry) -> Device:
    return registry.find_device(DEVICE, timeout=120)


@pytest.fixture(scope="module")
def host(registry: Registry, device: Device) -> Iterator[Host]:
    with registry.host("rknn") as served:
        yield served


def model(
    op: str,
    shape: list[int],
    *,
    opset: int = 19,
    type_: int = TensorProto.FLOAT,
    **weights: np.ndarray[Any, Any],
) -> Model:
    """y = op(x, weights...)"""
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node(op, ["x", *weights], ["y"], name="the node")],
        "g",
        [value("x", type_, shape)],
        [value("y", type_, None)],
        [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    return Model(made.SerializeToString())


def random(*shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def run(host: Host, device: Device, of: Model, x: Any, **options: Any) -> Mapping[str, Any]:
    executable = host.compile(device, of, options)
    try:
        return executable.run({"x": Tensor.from_numpy(np.asarray(x))})
    finally:
        executable.close()


def test_rknn_devices_are_emulated_slow_and_half(registry: Registry) -> None:
    devices = {d.id: d for d in registry.probe(["rknn"])["rknn"].devices}
    assert {"rknn:rk3588-sim", "rknn:rk3566-sim", "rknn:rk3576-sim"} <= set(devices)
    for each in devices.values():
        if each.id.endswith("-sim"):
            assert each.emulated and each.slow and each.precision == "float16"
        assert each.kind == "npu" and each.versions["rknn-toolkit2"] == "2.5.0"


def test_rknn_a_convolution_on_the_npu(host: Host, device: Device) -> None:
    x, w = random(1, 3, 8, 8), random(4, 3, 1, 1)
    of = model("Conv", [1, 3, 8, 8], w=w)
    executable = host.compile(device, of)
    (y,) = executable.run({"x": Tensor.from_numpy(x)}).values()
    expected = np.einsum("oc,nchw->nohw", w[:, :, 0, 0], x)
    assert isinstance(y, Tensor) and y.shape == (1, 4, 8, 8)
    error = np.abs(y.numpy() - expected).max() / np.abs(expected).max()
    assert 0 < error < 2**-9  # half precision, and not float32
    placement = executable.placement()
    assert [(n.node, n.device) for n in placement.nodes] == [("the node", DEVICE)]
    assert placement.evidence is Evidence.ASSIGNED
    assert host.supports(device, of).supported


def test_rknn_what_the_chips_cpu_would_run_is_refused(host: Host, device: Device) -> None:
    of = model("Sin", [1, 3, 4, 4])
    (told,) = host.supports(device, of).unsupported
    assert (told.node, told.operator) == ("the node", "Sin-19")
    with pytest.raises(FallbackError, match="leaves 'the node' to the chip's CPU") as caught:
        host.compile(device, of)
    assert caught.value.nodes == ("the node",)
    x = random(1, 3, 4, 4)
    got = run(host, device, of, x, cpu_layers=True)
    np.testing.assert_allclose(got["y"].numpy(), np.sin(x), atol=2e-3)


def test_rknn_what_it_cannot_load(host: Host, device: Device) -> None:
    with pytest.raises(SkewError, match="opset 22"):
        host.compile(device, model("Abs", [2, 3], opset=22))
    with pytest.raises(UnsupportedError, match="input shape"):
        host.compile(device, model("Abs", ["n", 3]))  # type: ignore[list-item]
    with pytest.raises(UnfedError, match="left out"):
        host.compile(device, model("Sigmoid", [1, 3, 4, 4])).run({})


def test_rknn_why_it_gave_no_outputs(host: Host, device: Device) -> None:
    """It builds a model of doubles, and refuses them when it runs, in its log alone."""
    of = model("Sigmoid", [1, 3, 4, 4], type_=TensorProto.DOUBLE)
    with pytest.raises(UnsupportedError, match=r"no outputs: .*float64"):
        run(host, device, of, random(1, 3, 4, 4).astype(np.float64))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"cpu_layer": True}, "Did you mean 'cpu_layers'?"),
        ({"cpu_layers": 1}, "takes true or false, got 1"),
        ({"optimization_level": 4}, "takes 0 to 3, got 4"),
    ],
)
def test_rknn_wrong_options(
    host: Host, device: Device, options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(UsageError) as caught:
        host.compile(device, model("Sigmoid", [1, 3, 4, 4]), options)
    assert reason in str(caught.value)


def test_rknn_weights_in_another_file(host: Host, device: Device, tmp_path: Path) -> None:
    w = random(4, 3, 1, 1)
    proto = onnx.ModelProto.FromString(model("Conv", [1, 3, 8, 8], w=w).data)
    onnx.save_model(
        proto, tmp_path / "m.onnx", save_as_external_data=True, size_threshold=0, location="w.bin"
    )
    x = random(1, 3, 8, 8)
    got = run(host, device, Model.from_path(tmp_path / "m.onnx"), x)
    expected = np.einsum("oc,nchw->nohw", w[:, :, 0, 0], x)
    np.testing.assert_allclose(got["y"].numpy(), expected, rtol=4e-3, atol=4e-3)


def test_rknn_leaves_no_files_behind(host: Host, device: Device, tmp_path: Path) -> None:
    """In verbose mode the SDK writes models into the working directory, where a killed host leaves
    them."""
    killed = subprocess.Popen(["true"])
    killed.wait()
    (tmp_path / f"hal-rknn-{killed.pid}-x").mkdir()
    with load_plugins() as registry, registry.host("rknn", env={"TMPDIR": str(tmp_path)}) as own:
        own.compile(device, model("Sigmoid", [1, 3, 4, 4])).close()
        assert list(tmp_path.iterdir()) == []


def test_rknn_conformance_on_a_subset(
    device: Device, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every kind of outcome, a crash of the compiler among them, in one complete report."""
    patterns = [text for case in SUBSET for text in ("-k", case.replace("[", "[[]"))]
    command = ["conformance", "--device", DEVICE, *patterns, "--json", str(tmp_path / "r.json")]
    assert main(command) == 0, capsys.readouterr().err
    (report,) = json.loads((tmp_path / "r.json").read_text())["reports"]
    assert report["complete"]
    found = {case["id"]: case["outcome"] for case in report["cases"]}
    assert {case: found[case] for case in SUBSET} == SUBSET
    graded = {c["evidence"] for c in report["cases"] if c["outcome"] == "pass"}
    assert graded == {"assigned"}
