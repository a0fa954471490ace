"""The zoo: 22 graphs without weights, and the weights drawn for them."""

from __future__ import annotations

import importlib.util

import numpy as np
import onnx
import pytest
from hal_conformance import models
from hal_conformance.models.generate import graph

from hal.errors import UsageError
from hal.graph import read_model

SMALL = ("lstm", "shufflenet", "squeezenet", "wav2vec2", "whisper")
"""Models that are made in a moment."""


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    monkeypatch.setenv("HAL_HOME", str(tmp_path / "first"))
    return tmp_path


def test_the_zoo_has_the_light_models_and_the_exported_architectures():
    assert {*models.LIGHT} < {*models.names()}
    assert {"bert", "gpt2", "llama", "t5", "vit", "resnet", "mobilenet_v2", "convnext", "segformer",
            "whisper", "wav2vec2", "lstm"} < {*models.names()} - {*models.LIGHT}  # fmt: skip


@pytest.mark.parametrize("name", SMALL)
def test_weights_are_the_same_bytes_when_they_are_drawn_again(name, fresh, monkeypatch):
    first = models.load(name)
    monkeypatch.setenv("HAL_HOME", str(fresh / "second"))
    assert models.load(name).data == first.data
    assert models.load(name).fingerprint == first.fingerprint


@pytest.mark.parametrize("name", SMALL)
def test_weights_are_drawn_as_their_recipes_say(name, fresh):
    weights = {t.name: t for t in onnx.load_from_string(models.load(name).data).graph.initializer}
    drawn = 0
    for bare in models.bare(name).graph.initializer:
        if not bare.doc_string.startswith("seeded: normal"):
            continue
        array = onnx.numpy_helper.to_array(weights[bare.name])
        mean, deviation = map(float, bare.doc_string.split()[-2:])
        assert array.shape == tuple(bare.dims)
        assert array.mean() == pytest.approx(mean, abs=6 * deviation / np.sqrt(array.size))
        drawn += 1
    assert drawn


@pytest.mark.parametrize("name", models.names())
def test_every_graph_is_small_valid_and_open_in_its_batch(name):
    info = models.info(name)
    assert "batch" in info.dynamic
    assert info.parameters > 1_000_000
    bare = models.bare(name)
    assert len(bare.SerializeToString()) < 500_000
    assert len({node.name for node in bare.graph.node}) == info.nodes
    assert {i.name for i in bare.graph.input} == set(info.inputs)


@pytest.mark.parametrize("name", SMALL)
def test_a_model_with_its_weights_is_valid(name):
    model = models.load(name)
    onnx.checker.check_model(model.data, full_check=True)
    assert len(read_model(model).graph.nodes) == models.info(name).nodes


@pytest.mark.parametrize("name", ["squeezenet", "inception_v1", "densenet121"])
def test_light_graphs_are_made_again_from_the_onnx_wheel(name):
    made, shipped = graph(name), models.bare(name)
    recipes = []
    for model in (made, shipped):
        for tensor in model.graph.initializer:
            if tensor.doc_string:
                recipes.append(tensor.doc_string)
                tensor.doc_string = ""
    assert made == shipped
    half = len(recipes) // 2
    for one, other in zip(recipes[:half], recipes[half:], strict=True):
        # A last layer's recipe rests on a run in float32, which may round otherwise elsewhere.
        assert [float(x) for x in one.split()[2:]] == pytest.approx(
            [float(x) for x in other.split()[2:]], rel=1e-3
        )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bert", "lstm"])
def test_architectures_are_exported_again(name):
    for package in ("torch", "transformers", "onnxscript"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed (requirements-models.txt)")
    assert graph(name) == models.bare(name)


def test_an_unknown_name_gets_a_suggestion():
    with pytest.raises(UsageError, match="Did you mean 'squeezenet'"):
        models.load("squeeznet")
