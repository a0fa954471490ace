"""Functions, reductions and losses where results are infinite, zero, or sums of many terms."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from hal import ElementType
from hal_conformance.contract.draft import Ask, Draft, Run, generates
from hal_conformance.contract.families.movement import int64s
from hal_conformance.contract.numbers import is_float, is_integer, narrow, widen
from hal_conformance.contract.tolerance import composed

_HALVES = (ElementType.FLOAT16, ElementType.BFLOAT16)


@generates("SwiGLU")
def scaled_gate(ask: Ask) -> Iterator[Draft]:
    """A factor that is a fraction, and one below zero."""
    for alpha in (0.5, -1.25):
        draw = ask.draw(f"alpha{alpha:g}")
        a, b = (draw.tensor(ask.element, (3, 5), -4, 4) for _ in range(2))
        gate = widen(a) / (1 + np.exp(-alpha * widen(a)))
        yield ask.draft(
            f"alpha{alpha:g}",
            [a, b],
            [gate * widen(b)],
            attributes={"alpha": alpha},
            tolerance=composed(ask.element, magnitude=4.0),
        )


@generates("Swish")
def far_gate(ask: Ask) -> Iterator[Draft]:
    """Numbers whose exponential is beyond the type."""
    if is_float(ask.element):
        x = narrow(np.array([100.0, -100.0, 95.0, 1.0, 800.0]), ask.element)
        wide = widen(x)
        expected = wide / (1 + np.exp(-wide))
        yield ask.draft("far", [x], [expected], tolerance=composed(ask.element, magnitude=1.0))


@generates("ThresholdedRelu")
def infinite_threshold(ask: Ask) -> Iterator[Draft]:
    """Infinity is above any threshold, and its opposite below."""
    if ask.full:
        x = narrow(np.array([np.inf, -np.inf, 2.0, 0.5]), ask.element)
        yield ask.draft("infinite", [x], [np.array([np.inf, 0.0, 2.0, 0.0])])


@generates("Softmax")
def infinite_share(ask: Ask) -> Iterator[Draft]:
    """Infinity alone in its row, divided by itself."""
    if ask.full:
        x = narrow(np.array([[np.inf], [1.0]]), ask.element)
        yield ask.draft("infinite", [x], [np.array([[np.nan], [1.0]])])


@generates("ReduceLogSumExp", "ReduceLogSum")
def logarithms(ask: Ask) -> Iterator[Draft]:
    """Zeros where there were numbers; exponents beyond the type; sums of many terms in halves."""
    if not is_float(ask.element):
        return
    exponents = ask.name == "ReduceLogSumExp"
    first = np.array([[2.0], [3.0], [0.5]])
    zeros = np.full((3, 1), 0.0 if exponents else 1.0)
    results = [first if exponents else np.log(first), np.zeros((3, 1))]
    runs = [
        Run((narrow(x, ask.element), int64s([1])), (expected,))
        for x, expected in zip((first, zeros), results, strict=True)
    ]
    yield Draft(
        slug="zeros",
        runs=tuple(runs),
        outputs=(ask.type,),
        constants=frozenset({1}),
        tolerance=composed(ask.element, magnitude=0.5),
    )
    if exponents:
        x = narrow(np.array([[1000.0, 1000.0], [-1000.0, -1000.0]]), ask.element)
        expected = widen(x)[:, :1] + np.log(2)
        yield ask.draft(
            "far",
            [x, int64s([1])],
            [expected],
            tolerance=composed(ask.element),
            oracle="none",
            reason="onnx 1.23.2's evaluator takes the exponential of the number itself",
        )


@generates("ReduceLogSum", "ReduceL2")
def long_halves(ask: Ask) -> Iterator[Draft]:
    """So many terms that an accumulator in half precision stops growing."""
    if ask.element not in _HALVES:
        return
    x = ask.draw("long").tensor(ask.element, (2, 4099), 0, 1)
    wide = widen(x)
    total = np.log(wide.sum(1)) if ask.name == "ReduceLogSum" else np.sqrt(np.square(wide).sum(1))
    attributes = {"keepdims": 0}
    inputs = [x, int64s([1])]
    yield ask.draft("long", inputs, [total], attributes=attributes, tolerance=composed(ask.element))


@generates("Sign")
def far_bits(ask: Ask) -> Iterator[Draft]:
    """Numbers of which the low half of the bits is zero."""
    if is_integer(ask.element) and ask.element.bits >= 16:
        step = 1 << ask.element.bits // 2
        x = narrow(np.array([step, 3 * step, 0, 1]), ask.element)
        yield ask.draft("far", [x], [np.array([1, 1, 0, 1])])


@generates("NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss")
def volume_loss(ask: Ask) -> Iterator[Draft]:
    """Five dimensions; and scores of which the target's is so far ahead that nothing is lost."""
    if not (ask.first and ask.full):
        return
    draw = ask.draw("volume")
    x = draw.tensor(ask.element, (2, 3, 1, 2, 2), -3, 0)
    target = draw.integers((2, 1, 2, 2), 0, 2)
    scores = widen(x)
    if ask.name == "SoftmaxCrossEntropyLoss":
        scores = scores - np.log(np.exp(scores).sum(1, keepdims=True))
    loss = -np.take_along_axis(scores, target[:, None], axis=1)[:, 0]
    settings: dict[str, Any] = {
        "attributes": {"reduction": "none"},
        "tolerance": composed(ask.element, magnitude=8.0),
    }
    yield ask.draft("volume", [x, int64s(target.tolist())], [loss], **settings)
    if ask.name == "SoftmaxCrossEntropyLoss":
        near = draw.tensor(ask.element, (2, 3), -3, 0)
        far = narrow(np.array([[0.0, 200.0, 0.0], [200.0, 0.0, 0.0]]), ask.element)
        runs = []
        for given in (near, far):
            wide = widen(given)
            logs = wide - np.log(np.exp(wide).sum(1, keepdims=True))
            runs.append(Run((given, int64s([1, 0])), (-logs[[0, 1], [1, 0]],)))
        yield Draft(slug="zeros", runs=tuple(runs), outputs=(ask.type,), **settings)
