"""The preview domains: the optimizers of ai.onnx.preview.training, and FlexAttention."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from onnx import helper

from hal import ElementType
from hal_conformance.contract.draft import Ask, Draft, generates
from hal_conformance.contract.draw import Draw
from hal_conformance.contract.microsoft.pointwise import single
from hal_conformance.contract.numbers import Array, narrow, widen
from hal_conformance.contract.protos import type_proto
from hal_conformance.contract.tolerance import Tolerance, accumulated, composed

_TRAINING = "ai.onnx.preview.training::"

Settings = Mapping[str, Any]
Step = Callable[[float, int, Sequence[Array], Settings], Sequence[Array]]
"""Of rate, count, what belongs to one variable, and attributes: what the variable becomes."""


def _adam(rate: float, count: int, given: Sequence[Array], s: Settings) -> Sequence[Array]:
    x, gradient, mean, square = given
    alpha, beta = single(s.get("alpha", 0.9)), single(s.get("beta", 0.999))
    g = single(s.get("norm_coefficient", 0.0)) * x + gradient
    mean = alpha * mean + (1 - alpha) * g
    square = beta * square + (1 - beta) * g * g
    if count > 0:
        rate = rate * np.sqrt(1 - beta**count) / (1 - alpha**count)
    x = x - rate * mean / (np.sqrt(square) + single(s.get("epsilon", 1e-6)))
    return (1 - single(s.get("norm_coefficient_post", 0.0))) * x, mean, square


def _adagrad(rate: float, count: int, given: Sequence[Array], s: Settings) -> Sequence[Array]:
    x, gradient, square = given
    g = single(s.get("norm_coefficient", 0.0)) * x + gradient
    square = square + g * g
    rate = rate / (1 + count * single(s.get("decay_factor", 0.0)))
    return x - rate * g / (np.sqrt(square) + single(s.get("epsilon", 1e-6))), square


def _momentum(rate: float, count: int, given: Sequence[Array], s: Settings) -> Sequence[Array]:
    x, gradient, velocity = given
    g = single(s["norm_coefficient"]) * x + gradient
    velocity = single(s["alpha"]) * velocity + (single(s["beta"]) if count > 0 else 1.0) * g
    ahead = g + single(s["alpha"]) * velocity if s["mode"] == "nesterov" else velocity
    return x - rate * ahead, velocity


_STANDARD: Settings = {"alpha": 0.75, "beta": 0.5, "norm_coefficient": 0.0, "mode": "standard"}
_NESTEROV: Settings = {"alpha": 0.5, "beta": 0.25, "norm_coefficient": 0.125, "mode": "nesterov"}

# Of Adam's beta only what keeps 1 - beta ** count well away from 0: near it the error of the power
# is all there is.
_OPTIMIZERS: Mapping[str, tuple[Step, int, Mapping[str, tuple[int, Settings]]]] = {
    "Adam": (
        _adam,
        4,
        {
            "first": (0, {}),
            "default": (1, {}),
            "later": (5, {"alpha": 0.5, "beta": 0.75, "epsilon": 0.01}),
            "norm": (0, {"norm_coefficient": 0.25}),
            "norm-post": (
                3,
                {"beta": 0.5, "norm_coefficient": 0.125, "norm_coefficient_post": 0.5},
            ),
        },
    ),
    "Adagrad": (
        _adagrad,
        3,
        {
            "first": (0, {}),
            "decay": (4, {"decay_factor": 0.25}),
            "norm": (1, {"norm_coefficient": 0.5, "epsilon": 0.125}),
        },
    ),
    "Momentum": (
        _momentum,
        3,
        {
            "first": (0, _STANDARD),
            "later": (3, _STANDARD),
            "norm": (2, {**_STANDARD, "norm_coefficient": 0.5}),
            "nesterov-first": (0, _NESTEROV),
            "nesterov": (2, _NESTEROV),
        },
    ),
}


@generates(*(_TRAINING + name for name in _OPTIMIZERS))
def optimizer(ask: Ask) -> Iterator[Draft]:
    """The first update and later ones, each attribute away from its default; several variables of
    different shapes, whose parts stand together: all variables, all gradients, and so on."""
    if not ask.first:
        return
    step, parts, rows = _OPTIMIZERS[ask.name]
    later = "later" if "later" in rows else "decay"
    shapes: Mapping[str, list[tuple[int, ...]]]
    shapes = {"values": [(3, 5)], "scalar": [()], "empty": [(0, 4)], "two": [(2, 3), (4,)]}
    for what, (count, settings) in rows.items():
        for slug, extents in shapes.items():
            if slug == "values" or what == later:
                name = what if slug == "values" else f"{what}-{slug}"
                yield _updated(ask, name, extents, step, parts, count, settings)


def _updated(
    ask: Ask,
    slug: str,
    extents: Sequence[tuple[int, ...]],
    step: Step,
    parts: int,
    count: int,
    settings: Settings,
) -> Draft:
    draw = ask.draw(slug)
    rate = draw.tensor(ask.element, (), 0.1, 0.5)
    # The last part of Adam and Adagrad is a sum of squares.
    lows = [-2.0] * (parts - 1) + [-2.0 if ask.name == "Momentum" else 0.0]
    given = [[draw.tensor(ask.element, shape, low, 2) for shape in extents] for low in lows]
    becomes = [
        step(float(widen(rate)), count, [widen(part[i]) for part in given], settings)
        for i in range(len(extents))
    ]
    expected = [new[p] for p in range(parts - 1) for new in becomes]
    several = len(extents) > 1
    return ask.draft(
        slug,
        [rate, narrow(count, ElementType.INT64), *(t for part in given for t in part)],
        expected,
        outputs=[ask.type] * len(expected),
        attributes=settings,
        tolerance=composed(ask.element, magnitude=4.0),
        # Of several variables the evaluator gives float32 whatever their type.
        oracle="none" if several else "widened",
        reason="the evaluator gives float32 for several variables" if several else "",
    )


_HEADS: Mapping[str, tuple[int, int, int, int, int, int]] = {
    # heads of queries, of keys, queries, keys, size, size of values
    "self": (2, 2, 4, 4, 4, 4),
    "cross": (2, 2, 3, 7, 4, 6),
    "grouped": (6, 2, 3, 5, 4, 4),
    "one": (1, 1, 1, 1, 1, 1),
}


@generates("ai.onnx.preview::FlexAttention")
def flex_attention(ask: Ask) -> Iterator[Draft]:
    """Groups of heads, another scale, scores and probabilities changed by a graph, and the type of
    the softmax given."""
    inner = ElementType.DOUBLE if ask.element is ElementType.DOUBLE else ElementType.FLOAT
    for slug in _HEADS:
        yield _flexed(ask, slug, slug, {}, inner)
    yield _flexed(ask, "scale", "cross", {"scale": 0.25}, inner)
    yield _flexed(ask, "precision", "self", {"softmax_precision": int(inner)}, inner)
    for slug, named in (
        ("score", {"score_mod": "Tanh"}),
        ("probability", {"prob_mod": "Sqrt"}),
        ("both", {"score_mod": "Neg", "prob_mod": "Neg"}),
    ):
        yield _flexed(ask, slug, "grouped" if slug == "both" else "cross", named, inner)


_MODIFIERS: Mapping[str, Callable[[Array], Array]] = {
    "Tanh": np.tanh,
    "Sqrt": np.sqrt,
    "Neg": np.negative,
}


def _flexed(ask: Ask, slug: str, what: str, settings: Settings, inner: ElementType) -> Draft:
    heads, groups, queries, keys, size, wide = _HEADS[what]
    draw: Draw = ask.draw(slug)
    q = draw.tensor(ask.element, (2, heads, queries, size), -2, 2)
    k = draw.tensor(ask.element, (2, groups, keys, size), -2, 2)
    v = draw.tensor(ask.element, (2, groups, keys, wide), -2, 2)
    each = heads // groups
    scale = single(settings.get("scale", 1 / np.sqrt(size)))
    scores = widen(q) @ np.repeat(widen(k), each, axis=1).swapaxes(-1, -2) * scale
    if "score_mod" in settings:
        scores = _MODIFIERS[settings["score_mod"]](scores)
    shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
    shares = shares / shares.sum(axis=-1, keepdims=True)
    if "prob_mod" in settings:
        shares = _MODIFIERS[settings["prob_mod"]](shares)
    graphs = {
        n: _modifier(settings[n], n, inner) for n in ("score_mod", "prob_mod") if n in settings
    }
    return ask.draft(
        slug,
        [q, k, v],
        [shares @ np.repeat(widen(v), each, axis=1)],
        attributes={**settings, **graphs},
        tolerance=_near(ask.element, size + keys),
        reference_error=1e-6,  # the evaluator takes the root of the scale in float32
    )


def _modifier(operator: str, name: str, element: ElementType) -> Any:
    type_ = type_proto(f"tensor({element.onnx_name})", (None,) * 4)
    given, changed = (helper.make_value_info(f"{name}_{end}", type_) for end in ("in", "out"))
    node = helper.make_node(operator, [given.name], [changed.name], name=f"{name}_{operator}")
    return helper.make_graph([node], name, [given], [changed])


def _near(element: ElementType, terms: int) -> Tolerance:
    return accumulated(element, terms=terms + 16, magnitude=16.0, steps=8, rounded=8.0)
