"""What was mined from the zoo, and the scores that weigh by it."""

from __future__ import annotations

import json
from importlib import resources

import pytest
from hal_conformance import models
from hal_conformance.scoring_shares import profile_scores, usage_score
from hal_conformance.speed.mine import KEPT, mine, text_of
from hal_conformance.speed.usage import usage

from hal.contract import contract
from hal.errors import UsageError


def test_mining_a_model_twice_gives_the_same_text_and_its_nodes() -> None:
    first = mine(["squeezenet"])
    assert text_of(mine(["squeezenet"])) == text_of(first)
    assert json.loads(text_of(first)) == first
    nodes = [n.op_type for n in models.bare("squeezenet").graph.node]
    assert {k: o["nodes"] for k, o in first["operators"].items()} == {
        k: nodes.count(k) for k in nodes
    }
    (largest, _) = first["operators"]["Conv"]["instances"]
    assert largest["inputs"][0] == {"type": "float", "shape": [1, 3, 224, 224]}
    assert largest["outputs"] == [{"type": "float", "shape": [1, 64, 111, 111]}]


def test_a_model_that_is_not_there_is_refused() -> None:
    with pytest.raises(UsageError, match="squeezenet"):
        mine(["squezenet"])


def test_the_shipped_file_is_over_the_whole_zoo_and_what_mining_writes() -> None:
    text = resources.files("hal_conformance.speed").joinpath("usage.json").read_text("utf-8")
    data = json.loads(text)
    assert text_of(data) == text
    assert tuple(data["models"]) == models.names()
    found = usage()
    for name in ("bert", "vgg19"):
        used = {n.op_type for n in models.bare(name).graph.node}
        assert used <= set(found.operators)
    for key, operator in found.operators.items():
        contract().latest(key)
        assert operator.nodes >= operator.models >= 1
        assert len(operator.instances) <= KEPT
        for instance in operator.instances:
            for argument in instance.inputs:
                if argument and argument.values is not None:
                    size = 1
                    for extent in argument.shape:
                        size *= extent
                    assert len(argument.values) == size


def test_the_usage_score_counts_nodes_of_models() -> None:
    matmul, relu = usage().operators["MatMul"].nodes, usage().operators["Relu"].nodes
    score = usage_score({"MatMul": [True, True], "Relu": [True, False], "Det": [True]})
    assert score is not None
    assert (score.passed, score.total) == (matmul, matmul + relu)
    assert usage_score({"Det": [True]}) is None


def test_profiles_count_their_own_cells() -> None:
    of_relu = [c.id for c in contract().cells() if c.operator == "Relu"]
    by_cell = {cell: [True, i > 0] for i, cell in enumerate(of_relu)}
    found = {p.profile: p.cells for p in profile_scores({**by_cell, "no-such/cell": [True]})}
    vision = found["vision"]
    admitted = [c for c in contract().cells() if contract().profile("vision").admits(c)]
    asked = [c for c in admitted if c.operator == "Relu"]
    assert (vision.total, vision.of_contract) == (len(asked), len(admitted))
    assert vision.passed == sum(c.id != of_relu[0] for c in asked)
    assert profile_scores({}) == ()
