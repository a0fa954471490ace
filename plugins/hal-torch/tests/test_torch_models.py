"""Whole models on torch:cpu against onnxruntime, as benchmarks/torch_accuracy.py judges them."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


@pytest.fixture(scope="module")
def accuracy() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield importlib.import_module("torch_accuracy")


@pytest.mark.parametrize("name", ["squeezenet", "shufflenet", "densenet121", "inception_v1"])
def test_light_models_agree_with_onnxruntime(accuracy, name, tmp_path, monkeypatch):
    monkeypatch.setenv("HAL_HOME", str(tmp_path))
    row = accuracy.check(name, "eager", [1], [])
    assert (row.runs, row.wrong) == (1, "")


@pytest.mark.parametrize("name", ["lstm", "distilbert", "llama", "vit"])
def test_exported_models_agree_with_onnxruntime_at_every_shape(accuracy, name):
    row = accuracy.check(name, "eager", [1, 4], [17, 40])
    assert (row.runs, row.wrong) == (2 if name == "vit" else 4, "")


def test_an_error_above_the_tolerance_is_reported(accuracy, tmp_path, monkeypatch):
    monkeypatch.setenv("HAL_HOME", str(tmp_path))
    monkeypatch.setattr(accuracy, "TOLERANCE", 1e-12)
    row = accuracy.check("squeezenet", "eager", [1], [])
    assert row.relative > 1e-12
    assert row.wrong.startswith("softmaxout_1 of ")


@pytest.mark.parametrize(
    ("got", "relative"),
    [
        (np.array([3.0, 4.0], np.float32), 0.0),
        (np.array([3.0, 4.5], np.float32), 0.1),
        (np.array([3.0, np.nan], np.float32), np.inf),
        (np.array([3.0, 4.0], np.float64), np.inf),
        (np.array([[3.0, 4.0]], np.float32), np.inf),
    ],
    ids=["equal", "near", "nan", "dtype", "shape"],
)
def test_errors_are_relative_to_the_expected_norm(accuracy, got, relative):
    assert accuracy.errors(np.array([3.0, 4.0], np.float32), got)[1] == pytest.approx(relative)
