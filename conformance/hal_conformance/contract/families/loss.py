"""Losses over classes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from hal import ElementType
from hal_conformance.contract.draft import Ask, Draft, generates
from hal_conformance.contract.numbers import Array, narrow, widen
from hal_conformance.contract.tolerance import composed


@generates("NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss")
def class_loss(ask: Ask) -> Iterator[Draft]:
    """Each reduction, weights or none, an ignored class, further dimensions, both index types."""
    if ask.constraint == "Tind" and ask.type == "tensor(int64)":
        return
    element = ask.element if ask.first else ElementType.FLOAT
    kind = ElementType.INT64 if ask.first else ask.element
    entropy = ask.name == "SoftmaxCrossEntropyLoss"
    for slug, shape, reduction, weighted, ignored in (
        ("none", (3, 5), "none", False, None),
        ("mean", (3, 5), "mean", True, None),
        ("sum", (2, 4, 3), "sum", True, None),
        ("ignored", (4, 5), "mean", True, 2),
        ("image", (2, 3, 2, 4), "none", True, -1),
        ("default", (3, 5), None, False, None),
    ):
        draw = ask.draw(slug)
        x = draw.tensor(element, shape, -3, 0)
        target = draw.integers((shape[0], *shape[2:]), 0, shape[1] - 1)
        if ignored is not None:
            target.flat[1] = ignored
        weight = draw.tensor(element, (shape[1],), 0.5, 2)
        inputs = [x, narrow(target, kind)] + ([weight] if weighted else [])
        scores = widen(x)
        if entropy:
            scores = _log_softmax(scores)
        chosen = np.clip(target, 0, shape[1] - 1)
        loss = -np.take_along_axis(scores, chosen[:, None], axis=1)[:, 0]
        factor = widen(weight)[chosen] if weighted else np.ones(target.shape)
        if ignored is not None:
            factor = np.where(target == ignored, 0.0, factor)
        loss = loss * factor
        if reduction == "sum":
            loss = loss.sum()
        elif reduction != "none":
            loss = loss.sum() / factor.sum()
        attributes: dict[str, Any] = {} if reduction is None else {"reduction": reduction}
        if ignored is not None:
            attributes["ignore_index"] = ignored
        type_ = f"tensor({element.onnx_name})"
        both = entropy and slug in ("mean", "image")
        yield ask.draft(
            slug,
            inputs,
            [loss, scores] if both else [loss],
            outputs=(type_, type_) if both else (type_,),
            attributes=attributes,
            tolerance=composed(element, magnitude=8.0),
        )


def _log_softmax(x: Array) -> Array:
    shifted = x - x.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))
