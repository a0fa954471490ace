"""What ai.onnx.ml's classifiers and regressors do with their raw scores, and class labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from hal.errors import UnsupportedError
from hal.kernels import NodeInfo

__all__ = ["DOMAIN", "SHOWN", "finished", "labeller", "plain_float", "transform"]

DOMAIN = "ai.onnx.ml"
SHOWN = -1
"""For `finished`: a single score is shown as it is."""

Tensor = torch.Tensor


def plain_float(x: Tensor) -> Tensor:
    """The input in the type that scores are computed in: double stays, all else is float."""
    return x if x.dtype == torch.float64 else x.to(torch.float32)


def _probit(p: Tensor) -> Tensor:
    """The inverse of the normal distribution by Winitzki's approximation of erf (a = 0.147),
    which ONNX's reference evaluator and onnxruntime share: an exact one would differ by 0.2 %."""
    x = p * 2 - 1
    log = torch.where(x.abs() < 0.5, torch.log1p(-x * x), torch.log((1 - x) * (1 + x)))
    v = 2 / (torch.pi * 0.147) + 0.5 * log
    root = torch.sqrt(v * v - log / 0.147)
    # root - v without the cancellation, which leaves no digit of it where p is near a half.
    found = torch.sqrt(torch.where(v > 1, -log / 0.147 / (root + v), root - v)) * 1.41421356
    return torch.where(x < 0, -found, found)


def _softmax_zero(x: Tensor) -> Tensor:
    """Softmax in which a zero keeps no share of its own."""
    most = x.amax(-1, keepdim=True)
    shares = torch.where(x.abs() > 1e-7, torch.exp(x - most), x * torch.exp(-most))
    total = shares.sum(-1, keepdim=True)
    return torch.where(total == 0, torch.full_like(x, 0.5), shares / total)


_TRANSFORMS: dict[str, Callable[[Tensor], Tensor]] = {
    "NONE": lambda x: x,
    "LOGISTIC": torch.sigmoid,
    "SOFTMAX": lambda x: torch.softmax(x, -1),
    "SOFTMAX_ZERO": _softmax_zero,
    "PROBIT": _probit,
}


def transform(name: str) -> Callable[[Tensor], Tensor]:
    """The function of a `post_transform` over [N, C]. Raises UnsupportedError for no known one."""
    if name not in _TRANSFORMS:
        raise UnsupportedError(f"post_transform {name!r} is none of {', '.join(_TRANSFORMS)}")
    return _TRANSFORMS[name]


def finished(scores: Tensor, name: str, second: int = SHOWN) -> Tensor:
    """Scores [N, C] as float after the transform `name`.

    A single score s of two classes becomes two, of which the standard says nothing: the transform
    of (-s, s) as in ONNX's reference evaluator; without one (1 - s, s) if `second` is 0, (-s, s) if
    it is 2, as in onnxruntime. `SHOWN` leaves the one score as it is. (onnxruntime leaves out the
    transform SOFTMAX of two such scores.)
    """
    function = transform(name)
    if scores.shape[1] != 1 or name == "PROBIT":
        return function(scores).to(torch.float32)
    if second == SHOWN:
        return scores.to(torch.float32)
    other = 1 - scores if name == "NONE" and second == 0 else -scores
    return function(torch.cat((other, scores), 1)).to(torch.float32)


def labeller(node: NodeInfo, ints: str) -> tuple[int, Callable[[Tensor], Any]]:
    """How many labels a classifier has, and the function from class numbers to labels.

    `ints` is the attribute that holds integer labels; labels of type string come as a NumPy array.
    """
    strings = node.attributes.get("classlabels_strings") or ()
    numbers = node.attributes.get(ints) or ()
    if strings:
        names = np.empty(len(strings), dtype=object)
        names[:] = strings

        def named(indices: Tensor) -> Any:
            return names[indices.cpu().numpy()]

        return len(strings), named
    table = torch.tensor(numbers, dtype=torch.int64, device=node.arrays.device)
    return len(numbers), lambda indices: table[indices]
