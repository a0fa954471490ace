"""`hal check` names the node at fault: wrong kernels planted in a T5 of 443 nodes."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import pytest
from hal_conformance import models
from hal_conformance.check.checker import Checker
from hal_conformance.report import Limits

from hal import Outcome
from hal.graph import read_model
from hal.inputs import draw_inputs
from hal.plugins import RegisteredBackend, Registry, load_plugins

FAULTY = Path(__file__).parent / "faulty"
SIZES = {"batch": 2, "sequence": 9}

WRONG = {
    "MatMul": ("slightly", "node_linear_10"),
    "Softmax": ("reversed", "node_Softmax_140"),
    "Relu": ("squashed", "node_relu_1"),
    "Add": ("coarse", "node_add_1598"),
    "Mul": ("slightly", "node_mul_1304"),
    "Transpose": ("reversed", "node_transpose_35"),
    "ReduceMean": ("slightly", "node_mean_1"),
    "Sqrt": ("squashed", "node_Sqrt_621"),
    "Gather": ("reversed", "node_embedding_2"),
    "Abs": ("one more", "node_abs_1"),
}
"""The fault and the node, by its operator."""
TOGETHER = ("fused clipped", "node_pow_16", "node_mean_15")
PLANTS = {
    **{f"p{i}": plant for i, plant in enumerate(WRONG.values())},
    "none": ["none"],
    "crash": ["crash", "node_Softmax_548"],
    "raise": ["raise", "node_relu_4"],
    "fused": TOGETHER,
}


@pytest.fixture(scope="module")
def registry():
    with pytest.MonkeyPatch.context() as patch, load_plugins() as installed:
        patch.syspath_prepend(str(FAULTY))
        patch.setenv("PYTHONPATH", str(FAULTY))
        patch.setenv("HAL_PLANTS", json.dumps(PLANTS))
        import hal_planted

        (spec,) = hal_planted.hal_backends()
        planted = RegisteredBackend(spec, "hal_planted", "hal-planted", "0.1")
        with Registry((), {**installed.backends, "planted": planted}) as registry:
            yield registry


@pytest.fixture(scope="module")
def check(registry):
    """Checks the T5 on a device; all share one reference run."""
    model = models.load("t5")
    inputs = draw_inputs(read_model(model), sizes=SIZES)
    with Checker(
        registry,
        model,
        inputs,
        name="t5",
        drawn=True,
        accuracy=0.0,
        limits=Limits(8.0, 4 << 30, 1),
    ) as checker:

        @functools.cache
        def run(plant, repro=None):
            return checker.check(registry.find_device(f"planted:{plant}"), {}, repro)

        yield run


@pytest.mark.slow
def test_ten_of_ten_wrong_kernels_are_named(check):
    named = {}
    for index, (operator, (_, node)) in enumerate(WRONG.items()):
        result = check(f"p{index}")
        assert result.outcome is Outcome.WRONG, operator
        assert result.culprit is not None, (operator, result.problem)
        assert result.culprit.operators == (operator,)
        named[operator] = result.culprit.nodes
        assert node in result.nodes
    assert named == {operator: (node,) for operator, (_, node) in WRONG.items()}


def test_a_model_without_a_fault_is_right(check):
    result = check("none")
    assert (result.outcome, result.reason, result.culprit) == (Outcome.PASS, "", None)
    assert len(result.nodes) == 443


@pytest.mark.parametrize(("plant", "outcome"), [("crash", Outcome.CRASH), ("raise", Outcome.ERROR)])
def test_a_node_that_breaks_the_engine_is_named(check, plant, outcome):
    result = check(plant)
    assert result.outcome is outcome
    assert result.culprit is not None, result.problem
    assert result.culprit.nodes == (PLANTS[plant][1],)


def test_kernels_that_are_wrong_only_together_are_named(check):
    result = check("fused")
    assert result.outcome is Outcome.WRONG
    assert result.culprit is not None, result.problem
    assert result.culprit.nodes == TOGETHER[1:]
