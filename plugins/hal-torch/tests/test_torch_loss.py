"""Losses: the official cases; types, ignored classes and weights by the definition."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

OPERATORS = ("NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss")
TYPES = {
    "float": (np.float32, 1e-5),
    "double": (np.float64, 1e-9),
    "float16": (np.float16, 3e-3),
    "bfloat16": (ml_dtypes.bfloat16, 3e-2),
}


@pytest.mark.parametrize("operator", OPERATORS)
def test_official_cases(official_failures: Any, operator: str) -> None:
    assert official_failures([operator]) == []


def loss_of(logs: Any, target: Any, weight: Any, ignored: int | None, reduction: str) -> Any:
    """By the standard's text, in float64; the class axis is 1."""
    safe = np.where(target == ignored, 0, target)
    taken = -np.take_along_axis(logs, safe[:, None], axis=1)[:, 0]
    weights = np.ones_like(taken) if weight is None else weight[safe]
    weights = np.where(target == ignored, 0, weights)
    if reduction == "none":
        return taken * weights
    total = (taken * weights).sum()
    return total if reduction == "sum" else total / weights.sum()


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("ignored", [None, 2, -1])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("operator", OPERATORS)
def test_by_definition(
    run_node: Any, values: Any, operator: str, reduction: str, ignored: int | None, name: str
) -> None:
    dtype, tolerance = TYPES[name]
    is_softmax = operator == "SoftmaxCrossEntropyLoss"
    for shape, is_weighted in (((5, 4), False), ((2, 4, 3), True), ((2, 4, 3, 2, 2), True)):
        x = values(np.float32, shape).astype(dtype)
        target = np.random.default_rng(0).integers(0, 4, (shape[0], *shape[2:]))
        if ignored == -1:
            target.ravel()[0] = -1
        weight = np.array([0.5, 1, 2, 0.25], dtype) if is_weighted else None
        wide = x.astype(np.float64)
        logs = wide - np.log(np.exp(wide).sum(1, keepdims=True)) if is_softmax else wide
        want = loss_of(
            logs, target, None if weight is None else weight.astype(np.float64), ignored, reduction
        )
        given: dict[str, Any] = {"reduction": reduction}
        if ignored is not None:
            given["ignore_index"] = ignored
        outputs = [name, name] if is_softmax else [name]
        inputs = [x, target.astype(np.int32), weight]
        got = run_node(operator, inputs if is_weighted else inputs[:2], outputs, given)
        assert got[0].shape == np.shape(want)
        loss = got[0].numpy().astype(np.float64)
        np.testing.assert_allclose(loss, want, rtol=5 * tolerance, atol=5 * tolerance)
        if is_softmax:
            have = got[1].numpy().astype(np.float64)
            np.testing.assert_allclose(have, logs, rtol=5 * tolerance, atol=5 * tolerance)
