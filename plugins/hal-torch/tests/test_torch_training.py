"""One step of each optimizer against ONNX's reference evaluator, by the official cases."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hal_torch.kernels import training

DOMAIN = "ai.onnx.preview.training"


@pytest.mark.parametrize("operator", ["Adam", "Adagrad", "Momentum"])
def test_official_cases(official_failures: Any, operator: str) -> None:
    assert official_failures([f"{DOMAIN}::{operator}"]) == []


def test_first_step_has_no_bias_correction() -> None:
    rate, first = torch.tensor(0.1), torch.tensor(0)
    x, g, zero = torch.tensor([1.0]), torch.tensor([2.0]), torch.tensor([0.0])
    new, v, h = training.adam(rate, first, x, g, zero, zero, alpha=0.9, beta=0.99, epsilon=0.0)
    np.testing.assert_allclose(v, [0.2], rtol=1e-6)
    np.testing.assert_allclose(h, [0.04], rtol=1e-5)
    np.testing.assert_allclose(new, [1 - 0.1 * 0.2 / 0.2], rtol=1e-5)


def test_first_momentum_takes_the_whole_gradient() -> None:
    rate, first = torch.tensor(0.1), torch.tensor(0)
    x, g, v = torch.tensor([1.0]), torch.tensor([2.0]), torch.tensor([1.0])
    options: Any = {"alpha": 0.5, "beta": 0.1, "norm_coefficient": 0.0, "mode": "standard"}
    new, moved = training.momentum(rate, first, x, g, v, **options)
    np.testing.assert_allclose(moved, [2.5], rtol=1e-6)
    np.testing.assert_allclose(new, [0.75], rtol=1e-6)


def test_double_and_several_tensors() -> None:
    rate, step = torch.tensor(0.1), torch.tensor(3)
    xs = [torch.full((2,), float(i + 1), dtype=torch.float64) for i in range(6)]
    made = training.adagrad(rate, step, *xs, decay_factor=0.1, epsilon=1e-6)
    assert [m.dtype for m in made] == [torch.float64] * 4
    for index in range(2):
        x, g, h = xs[index], xs[index + 2], xs[index + 4]
        squared = h + g * g
        np.testing.assert_allclose(made[index + 2], squared)
        want = x - 0.1 / 1.3 * g / (squared.sqrt() + 1e-6)
        np.testing.assert_allclose(made[index], want, rtol=1e-6)


def test_uneven_groups_are_refused() -> None:
    with pytest.raises(ValueError, match="3 groups"):
        training.adagrad(*[torch.ones(1)] * 6)
