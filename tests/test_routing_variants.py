"""Variants: derived models that stay close to the original, made once and kept."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import hal
from hal.errors import ExecutionError, UnavailableError
from hal.model import Model
from hal.routing import _candidates, _decide, route
from hal.routing._identity import Known, identify
from hal.routing._variants import VARIANTS, clear_variants, derive, impossible
from hal.store import Store

F = TensorProto.FLOAT


def mlp(width: int = 64) -> onnx.ModelProto:
    rng = np.random.default_rng(3)

    def weight(name: str, *shape: int) -> onnx.TensorProto:
        array = rng.standard_normal(shape) / np.sqrt(shape[0])
        return numpy_helper.from_array(array.astype(np.float32), name)

    node, value = helper.make_node, helper.make_tensor_value_info
    graph = helper.make_graph(
        [
            node("MatMul", ["x", "a"], ["h"]),
            node("Relu", ["h"], ["r"]),
            node("Gemm", ["r", "b", "c"], ["y"]),
        ],
        "g",
        [value("x", F, [8, width])],
        [value("y", F, [8, width])],
        [weight("a", width, 2 * width), weight("b", 2 * width, width), weight("c", width)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("HAL_HOME", str(tmp_path / "home"))
    return Store()


@pytest.fixture
def known(store: Store) -> Known:
    return identify(mlp(), store)


X = np.random.default_rng(5).standard_normal((8, 64)).astype(np.float32)


def error_of(original: Model, variant: Model, device: str) -> float:
    results = []
    for model in (original, variant):
        with hal.load(model, device) as session:
            results.append(session.run(None, {"x": X})[0])
    expected, got = results
    assert got.dtype == np.float32
    return float(np.linalg.norm(got - expected) / np.linalg.norm(expected))


@pytest.mark.parametrize(
    ("name", "device", "least", "most"),
    [
        ("int8", "ort:cpu", 1e-3, 0.05),
        ("int8-static", "ort:cpu", 1e-3, 0.05),
        ("float16", "ort:cpu", 1e-5, 2e-3),
        ("bfloat16", "torch:cpu", 1e-4, 2e-2),
    ],
)
def test_a_variant_is_close_and_made_once(
    known: Known,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    device: str,
    least: float,
    most: float,
) -> None:
    made = derive(known, name, store, {"x": hal.Tensor.from_numpy(X)})
    assert least < error_of(known.model, made, device) < most
    assert len(made.data) < 0.7 * len(known.model.data)

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("made again")

    monkeypatch.setattr(subprocess, "run", never)
    assert derive(known, name, store).data == made.data
    (file,) = store.folder.iterdir()
    file.write_bytes(b"cut short")
    with pytest.raises((AssertionError, UnavailableError)):
        derive(known, name, store)
    clear_variants(store)
    assert not list(store.folder.iterdir()) and not store.rows("variants")


def test_int8_takes_an_lstm(store: Store) -> None:
    rng = np.random.default_rng(4)
    weights = {"w": (1, 128, 64), "r": (1, 128, 32), "b": (1, 256)}
    graph = helper.make_graph(
        [helper.make_node("LSTM", ["x", *weights], ["y"], hidden_size=32)],
        "g",
        [helper.make_tensor_value_info("x", F, [8, 1, 64])],
        [helper.make_tensor_value_info("y", F, [8, 1, 1, 32])],
        [
            numpy_helper.from_array((rng.standard_normal(shape) / 8).astype(np.float32), name)
            for name, shape in weights.items()
        ],
    )
    lstm = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    known = identify(lstm, store)
    made = derive(known, "int8", store)
    results = []
    for model in (known.model, made):
        with hal.load(model, "ort:cpu") as session:
            results.append(session.run(None, {"x": X[:, None, :]})[0])
    error = np.linalg.norm(results[1] - results[0]) / np.linalg.norm(results[0])
    assert 1e-4 < error < 0.05


def test_an_old_opset_is_raised_for_a_scale_for_each_channel(store: Store) -> None:
    old = mlp()
    old.opset_import[0].version = 11
    known = identify(old, store)
    made = derive(known, "int8-static", store, {"x": hal.Tensor.from_numpy(X)})
    assert onnx.load_from_string(made.data).opset_import[0].version >= 13
    assert 1e-3 < error_of(known.model, made, "ort:cpu") < 0.05
    hal.load(made, "openvino:cpu").close()  # which refuses axes in older opsets


def test_what_cannot_be_made_says_why(
    known: Known, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UnavailableError, match="--inputs"):
        derive(known, "int8-static", store)
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])], "g", [value("x", F, [2])], [value("y", F, [2])]
    )
    relu = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(ExecutionError, match=r"int8 cannot be made .* no node of it would change"):
        derive(identify(relu, store), "int8", store)
    assert "no variant 'int3'" in impossible("int3", calibrated=True)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for name in VARIANTS:
        assert "pip install onnx" in impossible(name, calibrated=True)


def test_external_weights_are_taken_along(tmp_path: Path, store: Store) -> None:
    path = tmp_path / "outside.onnx"
    onnx.save(mlp(), path, save_as_external_data=True, location="w.bin", size_threshold=0)
    known = identify(path, store)
    made = derive(known, "float16", store)
    assert made.folder is None and error_of(known.model, made, "ort:cpu") < 2e-3


@pytest.mark.usefixtures("store")
def test_a_route_within_a_budget_of_error_tries_them() -> None:
    found = route(mlp(), devices=("ort:cpu",), accuracy=0.05, budget=2)
    by_variant = {r.candidate.variant or str(dict(r.candidate.options)): r for r in found.rows}
    assert 1e-3 < by_variant["int8"].error < 0.05
    assert "--inputs" in by_variant["int8-static"].reason
    strict = route(mlp(), devices=("ort:cpu",), budget=2)
    rows = {r.candidate.variant: r for r in strict.rows if r.candidate.variant}
    assert "takes part with a budget of error" in rows["int8"].reason
    assert not strict.winner.candidate.variant


@pytest.mark.usefixtures("store")
def test_a_variant_that_would_change_nothing_is_not_tried() -> None:
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", F, [4, 4])],
        [helper.make_tensor_value_info("y", F, [4, 4])],
    )
    plain = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    found = route(plain, devices=("ort:cpu",), accuracy=0.05, budget=2)
    (row,) = [r for r in found.rows if r.candidate.variant == "int8"]
    assert row.state == "struck" and "no MatMul or Gemm or LSTM has constant weights" in row.reason


@pytest.mark.usefixtures("store")
def test_a_variant_that_won_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def ort_alone(registry: Any, named: Any, *, allow_emulated: bool) -> Any:
        return _candidates.devices_of(registry, ("ort:cpu",), allow_emulated=allow_emulated)

    def int8_wins(rows: Any, policy: Any) -> Any:
        rows = {k: r for k, r in rows.items() if r.candidate.variant == "int8"}
        return ranked(rows, policy)

    ranked = _decide._ranked
    monkeypatch.setattr(_decide, "_ranked", int8_wins)
    monkeypatch.setattr(_decide, "devices_of", ort_alone)
    with hal.load(mlp(), accuracy=0.05, budget=2) as session:
        assert session.route is not None
        assert session.route.winner.candidate.variant == "int8"
        got = session.run(None, {"x": X})[0]
    with hal.load(mlp(), "ort:cpu") as exact:
        expected = exact.run(None, {"x": X})[0]
    error = np.linalg.norm(got - expected) / np.linalg.norm(expected)
    assert 1e-3 < error < 0.05
