"""A second load on the same device starts no probe, and imports no other engine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import hal
from hal.errors import UnavailableError
from hal.plugins import Registry
from hal.store import Store


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HAL_HOME", str(tmp_path / "home"))
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "g",
        [value("x", TensorProto.FLOAT, [2])],
        [value("y", TensorProto.FLOAT, [2])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    target = tmp_path / "relu.onnx"
    onnx.save(model, target)
    return target


def test_a_second_load_asks_no_backend(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hal.load(path, "ort:cpu").close()

    def never(*_: object, **__: object) -> None:
        raise AssertionError("probed again")

    monkeypatch.setattr(Registry, "probe", never)
    with hal.load(path, "ort:cpu") as session:
        assert session.run(None, {"x": np.array([-1, 2], np.float32)})[0].tolist() == [0, 2]
    with Store() as store:
        row = store.get("devices", "ort:cpu")
        assert row is not None
        store.put("devices", "ort:cpu", {**row, "stamp": "of another environment"})
    with pytest.raises(AssertionError, match="probed again"):
        hal.load(path, "ort:cpu")


def test_a_second_load_imports_no_other_engine(path: Path) -> None:
    hal.load(path, "ort:cpu").close()
    code = (
        "import hal, sys; hal.load(sys.argv[1], 'ort:cpu').close();"
        "print([n for n in ('torch', 'openvino', 'onnx', 'hal_torch') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_a_backend_that_is_gone_is_asked_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hal.load(path, "ort:cpu").close()
    with Store() as store:
        row = store.get("devices", "ort:cpu")
        assert row is not None
        store.put("devices", "ort:cpu", {**row, "module": "no_such_plugin"})
    asked = []

    def probe(self: Registry, device_id: str) -> None:
        asked.append(device_id)
        raise UnavailableError("as told by the probe")

    monkeypatch.setattr(Registry, "find_device", probe)
    with pytest.raises(UnavailableError, match="as told"):
        hal.load(path, "ort:cpu")
    assert asked == ["ort:cpu"]
