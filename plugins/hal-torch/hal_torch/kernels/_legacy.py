"""Broadcasting as it was before operator set 7."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from hal.kernels import NodeInfo

__all__ = ["ATTRIBUTES", "aligned"]

Specialized = Callable[[NodeInfo], Callable[..., Any]]

ATTRIBUTES = ("axis", "broadcast")


def aligned(specialized: Specialized) -> Specialized:
    """The kernel of two tensors where `axis` says at which dimension of the first the second one
    starts; without it their last dimensions meet, as they do today."""

    def legacy(node: NodeInfo) -> Callable[..., Any]:
        function = specialized(node)
        axis = node.attributes.get("axis")
        if not node.attributes.get("broadcast") or axis is None:
            return function

        def run(a: torch.Tensor, b: torch.Tensor) -> Any:
            start = axis + a.dim() if axis < 0 else axis
            after = a.dim() - start - b.dim()
            return function(a, b.reshape(*b.shape, *[1] * after))

        return run

    return legacy
