"""`hal route`, `hal run`, `hal bench` and `hal routes`, on a made-up device."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from hal.cli import main
from hal.cli._npz import read_npz, write_npz
from hal.errors import DataError, OutputError

FAKE = """
    import time
    import numpy as np
    import hal
    from hal.backend import Choice, ReferenceUse, Support

    class Executable:
        def __init__(self, options):
            self.options = options

        def run(self, inputs):
            time.sleep(self.options.get("delay", 1) / 1000)
            y = np.maximum(inputs["x"].numpy(), 0) + np.float32(self.options.get("off", 0))
            return {"y": hal.Tensor.from_numpy(y)}

    class Backend:
        def devices(self):
            return [hal.Device("fake:cpu", "cpu")]

        def supports(self, device, model):
            return Support()

        def compile(self, device, model, options):
            return Executable(options)

    @hal.hookimpl
    def hal_backends():
        choices = (Choice({"delay": 2}), Choice({"off": 1}, speed=0.2))
        use = ReferenceUse("fake:cpu", {"delay": 0}, "float64", rank=-1)
        yield hal.BackendSpec("fake", Backend, reference=use, choices=choices)
"""


@pytest.fixture
def path(site: Any, tmp_path: Path) -> str:
    site.add("hal-fake", FAKE)
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "g",
        [value("x", TensorProto.FLOAT, ["batch", 4])],
        [value("y", TensorProto.FLOAT, ["batch", 4])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "relu.onnx")
    return str(tmp_path / "relu.onnx")


def told(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    got = main(arguments)
    captured = capsys.readouterr()
    assert got == code, captured.err
    return captured.out if not code else captured.err


def test_route_and_routes(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no decision is kept" in told(capsys, "routes")
    out = told(capsys, "route", path, "-d", "fake:cpu", "--size", "batch=2")
    assert "fake:cpu delay=2 is best by latency" in out and "synthetic" in out
    assert "off by" in out and "for batch 2" in out
    out = told(capsys, "route", path, "-d", "fake:cpu", "--size", "batch=2", "--explain")
    assert "from the store" in out and "relative L2 error" in out and "package hal-core" in out
    out = told(capsys, "route", path, "-d", "fake:cpu", "--size", "batch=2", "--json")
    document = json.loads(out)
    assert document["schema"] == "hal.route/1" and document["cached"]
    assert [r["state"] for r in document["rows"]] == ["won", "wrong"]
    out = told(capsys, "routes")
    assert "relu.onnx" in out and "batch=2" in out and "fake:cpu delay=2" in out
    assert json.loads(told(capsys, "routes", "--json"))["routes"][0]["model"] == "relu.onnx"
    assert "hal routes" in told(capsys, "routes", "clear", "other.onnx", "-y", code=2)
    assert "forgot 1" in told(capsys, "routes", "clear", "relu.onnx", "-y")
    assert "no decision is kept" in told(capsys, "routes")
    assert '"removed": 0' in told(capsys, "routes", "clear", "-y", "--json")


def test_run_reads_and_writes_npz(
    path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    x = np.array([[-1, 2, -3, 4]], np.float32)
    np.savez(tmp_path / "x.npz", x=x)
    target = tmp_path / "y.npz"
    arguments = ["run", path, "-d", "fake:cpu", "--inputs", str(tmp_path / "x.npz")]
    out = told(capsys, *arguments, "--outputs", str(target))
    assert "ran on fake:cpu; wrote" in out and "[1, 4]" in out
    assert read_npz(target)["y"].tolist() == [[0, 2, 0, 4]]
    assert sorted(p.name for p in tmp_path.glob("*.npz")) == ["x.npz", "y.npz"]
    out = told(capsys, "run", path, "-d", "fake:cpu", "--size", "batch=3", "--json")
    document = json.loads(out)
    assert document["inputs"] == "synthetic" and document["outputs"][0]["shape"] == [3, 4]


def test_bench_is_side_by_side(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    devices = ["-d", "fake:cpu,delay=1", "-d", "fake:cpu,delay=8", "-d", "ort:cpu,treads=1"]
    out = told(capsys, "bench", path, *devices, "--rounds", "3")
    lines = [line for line in out.splitlines() if ":cpu" in line]
    assert [line.split()[1] for line in lines] == ["delay=1", "delay=8", "treads=1"]
    assert "no option 'treads'" in lines[2]
    rows = json.loads(told(capsys, "bench", path, *devices[:2], "--json"))["rows"]
    assert len(rows[0]["blocks"]) == 5 and 0.9e-3 < rows[0]["median"] < 8e-3
    assert "expected KEY=VALUE" in told(capsys, "bench", path, "-d", "fake:cpu,delay", code=2)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["route", "no.onnx"], 3, "No such file"),
        (["route", "empty.onnx"], 3, "the file is empty"),
        (["route", "cut.onnx"], 3, "error: "),
        (["run", "cut.onnx", "-d", "fake:cpu"], 3, "error: "),
        (["bench", "cut.onnx", "-d", "fake:cpu"], 3, "error: "),
        (["route", "M", "--policy", "speed"], 2, "no policy 'speed'"),
        (["route", "M", "-d", "fake:cup"], 2, "Did you mean 'fake:cpu'"),
        (["route", "M", "--accuracy", "7"], 2, "between 0 and 1"),
        (["route", "M", "--size", "batch"], 2, "name=number"),
        (["route", "M", "--inputs", "none.npz"], 3, "none.npz"),
        (["route", "M", "--inputs", "empty.onnx"], 3, "no .npz file"),
        (["run", "M", "-d", "fake:cpu", "--inputs", "wrong.npz"], 2, "no input 'z'"),
        (["run", "M", "-d", "fake:cpu", "--outputs", "nowhere/y.npz"], 4, "there is no folder"),
    ],
)
def test_what_is_wrong_is_one_line(
    path: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.onnx").write_bytes(b"")
    (tmp_path / "cut.onnx").write_bytes(Path(path).read_bytes()[:-9])
    np.savez(tmp_path / "wrong.npz", z=np.zeros(3))
    err = told(capsys, *[path if a == "M" else a for a in arguments], code=code)
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and message in errors[0], err
    assert "Traceback" not in err


def test_a_newer_store_stops_only_who_asks_for_it(
    path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import sqlite3

    told(capsys, "route", path, "-d", "fake:cpu")
    with sqlite3.connect(tmp_path / "home" / "data" / "store.sqlite") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    assert "newer HAL" in told(capsys, "routes", code=3)
    assert "is best by latency" in told(capsys, "route", path, "-d", "fake:cpu")


def test_every_form_of_output_is_written(tmp_path: Path) -> None:
    values = {
        "a": np.arange(3),
        "b": np.array([1.5, 2], ml_dtypes.bfloat16),
        "s": np.array(["x", "yz"], object),
        "q": [np.zeros(2), np.ones(1)],
        "m": {1: 2.0, 3: 4.0},
        "o": None,
    }
    write_npz(tmp_path / "y.npz", values)
    got = read_npz(tmp_path / "y.npz")
    assert sorted(got) == ["a", "b", "m.keys", "m.values", "q.0", "q.1", "s"]
    assert got["b"].tolist() == [1.5, 2] and got["s"].tolist() == ["x", "yz"]
    assert got["m.keys"].tolist() == [1, 3]
    with pytest.raises(OutputError):
        write_npz(tmp_path / "none" / "y.npz", values)
    np.save(tmp_path / "one.npy", np.zeros(2))
    np.savez(tmp_path / "objects.npz", x=np.array([{}], object))
    for name in ("one.npy", "objects.npz"):
        with pytest.raises(DataError):
            read_npz(tmp_path / name)


def test_names_of_a_model_do_not_reach_the_terminal_as_codes(path, tmp_path, capsys):
    model = onnx.load(path)
    model.graph.node[0].output[0] = model.graph.output[0].name = "y\x1b[31m"
    made = str(tmp_path / "red.onnx")
    onnx.save(model, made)
    assert main(["run", made, "--device", "reference:cpu"]) == 0
    assert main(["run", made, "--device", "fake:cpu"]) != 0
    shown = capsys.readouterr()
    assert r"y\x1b[31m" in shown.out and r"\x1b[31m" in shown.err
    assert "\x1b" not in shown.out + shown.err
