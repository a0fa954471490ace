"""Sums over thousands of numbers in half precision, which stand still when kept in it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hal import ElementType
from hal_conformance.contract.draft import Ask, Draft, generates
from hal_conformance.contract.families.normalization import normal_tolerance, standardised
from hal_conformance.contract.numbers import Array, narrow, widen
from hal_conformance.contract.tolerance import accumulated, composed

_HALVES = (ElementType.FLOAT16, ElementType.BFLOAT16)
_EPSILON = float(np.float32(1e-5))


def _numbers(ask: Ask, shape: tuple[int, ...]) -> Array:
    """From 1 to 5: after 4096 of them, a sum in float16 has steps of 8."""
    return widen(ask.draw("long").tensor(ask.element, shape, 1, 5))


@generates("LayerNormalization", "InstanceNormalization", "GroupNormalization")
def normalised(ask: Ask) -> Iterator[Draft]:
    """Statistics over one row of 4096."""
    if not ask.first or ask.element not in _HALVES:
        return
    last = ask.name == "LayerNormalization"
    x = _numbers(ask, (1, 4096) if last else (1, 1, 64, 64))
    scale, bias = (narrow(np.full((4096 if last else 1,), v), ask.element) for v in (1.5, 0.5))
    axes = (1,) if last else (2, 3)
    normal, _, _ = standardised(x, axes, _EPSILON)
    yield ask.draft(
        "long",
        [narrow(x, ask.element), scale, bias],
        [normal * 1.5 + 0.5],
        attributes={"num_groups": 1} if ask.name == "GroupNormalization" else {},
        tolerance=normal_tolerance(ask.element),
    )


@generates("BatchNormalization")
def trained(ask: Ask) -> Iterator[Draft]:
    """Statistics of a batch."""
    if not ask.first or ask.element not in _HALVES:
        return
    x = _numbers(ask, (4, 1, 1024))
    numbers = [narrow(np.array([v]), ask.element) for v in (1.5, 0.5, 2.0, 1.0)]
    mean, variance = x.mean(), x.var()
    yield ask.draft(
        "long",
        [narrow(x, ask.element), *numbers],
        [
            (x - mean) / np.sqrt(variance + _EPSILON) * 1.5 + 0.5,
            np.array([2.0 * 0.75 + mean * 0.25]),
            np.array([0.75 + variance * 0.25]),
        ],
        outputs=(ask.type,) * 3,
        attributes={"training_mode": 1, "momentum": 0.75},
        tolerance=composed(ask.element, magnitude=8.0),
    )


@generates("MeanVarianceNormalization", "GlobalAveragePool")
def averaged(ask: Ask) -> Iterator[Draft]:
    """Over an image of 4096 places."""
    if ask.element not in _HALVES:
        return
    x = _numbers(ask, (1, 1, 64, 64))
    mean = x.mean((2, 3), keepdims=True)
    pool = ask.name == "GlobalAveragePool"
    yield ask.draft(
        "long",
        [narrow(x, ask.element)],
        [mean if pool else (x - mean) / x.std((2, 3), keepdims=True)],
        tolerance=accumulated(ask.element, terms=4096, magnitude=5.0, steps=2.0)
        if pool
        else composed(ask.element, magnitude=8.0),
        oracle="widened" if pool else "none",
        reason="onnx 1.23.2's evaluator cannot run the operator's body on double",
    )
