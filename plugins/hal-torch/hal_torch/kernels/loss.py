"""Losses: NegativeLogLikelihoodLoss, SoftmaxCrossEntropyLoss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from hal.errors import UnsupportedError
from hal.kernels import KernelTable, NodeInfo
from hal_torch.kernels._window import widened

__all__ = ["table"]

Tensor = torch.Tensor
Kernel = Callable[..., Any]
table = KernelTable()
NO_CLASS = -100
"""No class at all, which is what torch ignores where nothing is said."""


def _options(node: NodeInfo) -> tuple[str, int]:
    reduction = node.attributes["reduction"]
    if reduction not in ("none", "mean", "sum"):
        raise UnsupportedError(f"reduction is {reduction!r}")
    ignored = node.attributes.get("ignore_index")
    return reduction, NO_CLASS if ignored is None else ignored


@table.specialized(
    "NegativeLogLikelihoodLoss", 12, 13, 22, attributes=("ignore_index", "reduction")
)
def negative_log_likelihood_loss(node: NodeInfo) -> Kernel:
    reduction, ignored = _options(node)

    def run(x: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        loss = F.nll_loss(
            widened(x),
            target.long(),
            None if weight is None else widened(weight),
            ignore_index=ignored,
            reduction=reduction,
        )
        return loss.to(x.dtype)

    return run


@table.specialized("SoftmaxCrossEntropyLoss", 12, 13, attributes=("ignore_index", "reduction"))
def softmax_cross_entropy_loss(node: NodeInfo) -> Kernel:
    reduction, ignored = _options(node)

    def run(
        scores: Tensor, labels: Tensor, weights: Tensor | None = None
    ) -> Tensor | tuple[Tensor, Tensor]:
        logs = torch.log_softmax(widened(scores), dim=1)
        loss = F.nll_loss(
            logs,
            labels.long(),
            None if weights is None else widened(weights),
            ignore_index=ignored,
            reduction=reduction,
        ).to(scores.dtype)
        return (loss, logs.to(scores.dtype)) if node.outputs > 1 else loss

    return run
