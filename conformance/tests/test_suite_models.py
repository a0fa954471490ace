"""Suite `models`: whole models against the reference run."""

from __future__ import annotations

import contextlib
import dataclasses
import functools

import numpy as np
import pytest
from hal_conformance import models, suite_models
from hal_conformance.case import load_suite
from hal_conformance.judge import run_case
from hal_conformance.suite_models import SIZES, id_of

import hal.reference
from hal import Outcome, Tensor
from hal.graph import read_model
from hal.plugins import load_plugins


@functools.cache
def suite():
    return load_suite("models")


@pytest.fixture(scope="module")
def registry():
    with load_plugins() as found:
        yield found


@pytest.fixture(scope="module")
def outcome(registry):
    """Runs a case on a device, in a host that all tests of this file share."""
    with contextlib.ExitStack() as stack:

        @functools.cache
        def host(backend):
            return stack.enter_context(registry.host(backend))

        def run(case, device_id, **options):
            device = registry.find_device(device_id)
            spec = registry.backends[device.backend].spec
            return run_case(case, device, spec, host(device.backend), options)

        yield run


def test_each_model_has_two_cases_of_other_sizes():
    assert [c.id for c in suite()] == [
        id_of(name, number) for name in models.names() for number in range(len(SIZES))
    ]
    for facts in suite():
        assert 0 < facts.rtol < 1e-3
        assert 0 < facts.atol < 1e-2
        assert facts.operators
        assert bool(facts.cells) == (facts.opset >= 13)  # cells are of operators' latest versions
        assert len(facts.nodes) == models.info(facts.id.split("/")[1]).nodes


def test_a_case_has_the_model_with_inputs_of_its_sizes():
    case = suite().load("models/llama/batch2-sequence17-past9")
    (data_set,) = case.data_sets
    assert case.model == models.load("llama")
    assert data_set.inputs["input_ids"].shape == (2, 17)
    assert data_set.inputs["attention_mask"].shape == (2, 26)
    assert data_set.inputs["past.0.key"].shape == (2, 2, 9, 64)
    assert {i.name for i in read_model(case.model).graph.outputs} == set(data_set.outputs)
    assert "float64" in case.oracles


def test_what_is_expected_is_computed_once(monkeypatch):
    first = suite().load("models/lstm/batch1-sequence32")

    def refuse(*arguments, **keywords):
        raise AssertionError("computed again")

    monkeypatch.setattr(hal.reference, "Reference", refuse)
    again = load_suite("models").load("models/lstm/batch1-sequence32")
    for name, value in first.data_sets[0].outputs.items():
        assert again.data_sets[0].outputs[name].data == value.data


def test_damaged_expectations_are_computed_again(monkeypatch, tmp_path):
    monkeypatch.setenv("HAL_HOME", str(tmp_path))
    own = load_suite("models")
    case = own.load("models/lstm/batch1-sequence32")
    (kept,) = (tmp_path / "cache" / "suites").glob("models-lstm-*")
    kept.write_bytes(kept.read_bytes()[:-100])
    again = own.load("models/lstm/batch1-sequence32")
    for name, value in case.data_sets[0].outputs.items():
        assert again.data_sets[0].outputs[name].data == value.data


def test_the_tolerances_are_those_that_are_measured(registry):
    facts = suite().facts(id_of("lstm", 0))
    measured = suite_models.measured_tolerance(registry, "lstm", 0)
    assert (facts.rtol, facts.atol) == pytest.approx(measured, rel=0.5)


@pytest.mark.parametrize("case_id", ["models/lstm/batch2-sequence17", "models/squeezenet/batch1"])
def test_float32_passes_and_what_is_coarser_does_not(case_id, outcome):
    case = suite().load(case_id)
    assert (outcome(case, "ort:cpu").outcome, outcome(case, "openvino:cpu").outcome) == (
        Outcome.PASS,
        Outcome.PASS,
    )
    assert outcome(case, "openvino:cpu", precision="bfloat16").outcome is Outcome.WRONG
    (data_set,) = case.data_sets
    off = {n: Tensor.from_numpy(v.numpy() * np.float32(1.001)) for n, v in data_set.outputs.items()}
    case = dataclasses.replace(case, data_sets=(dataclasses.replace(data_set, outputs=off),))
    assert outcome(case, "ort:cpu").outcome is Outcome.WRONG


@pytest.mark.slow
def test_onnxruntime_passes_exported_architectures(outcome):
    for name in ("bert", "gpt2", "llama", "segformer", "t5", "vit", "wav2vec2", "whisper"):
        result = outcome(suite().load(id_of(name, 1)), "ort:cpu")
        assert (result.outcome, result.reason) == (Outcome.PASS, ""), result.id
