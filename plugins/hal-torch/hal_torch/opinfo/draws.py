"""Random operators: are two sets of draws of one distribution?"""

from __future__ import annotations

import torch

from hal_torch.opinfo.compare import Tolerance

__all__ = ["DRAWS", "same_distribution"]

DRAWS = 32
"""How often a random operator is called on each side."""

_QUANTILES = 9
_LIMIT = 6.0
"""Standard errors. Welch's t has some 60 degrees of freedom: by chance once in 10^7."""


def same_distribution(want: torch.Tensor, have: torch.Tensor, tolerance: Tolerance) -> str:
    """Why the draws in `have` are of another distribution than those in `want`, "" if nothing says
    so. The first dimension counts the draws; real and imaginary parts are judged apart.

    At each of nine quantiles of all values, the share of values below it is compared between the
    two sets by Welch's t. A draw is the unit, so that values that depend on each other within one
    (dropout of whole channels) count once. Values closer than `tolerance` count as equal, so that
    what does not vary (the zeros of dropout, and what it keeps) must agree.
    """
    if want.is_complex():
        return same_distribution(want.real, have.real, tolerance) or same_distribution(
            want.imag, have.imag, tolerance
        )
    if not want.numel():
        return ""
    left, right = (_draws(x) for x in (want, have))
    pooled = torch.cat([left, right]).reshape(-1).sort()[0]
    at = torch.linspace(0.02, 0.98, _QUANTILES, dtype=torch.float64) * (pooled.numel() - 1)
    for quantile in torch.unique(pooled[at.round().to(torch.int64)]):
        slack = tolerance.atol + tolerance.rtol * quantile.abs()
        below = [(x < quantile - slack).to(torch.float64).mean(1) for x in (left, right)]
        up_to = [(x <= quantile + slack).to(torch.float64).mean(1) for x in (left, right)]
        apart = max(below[0].mean() - up_to[1].mean(), below[1].mean() - up_to[0].mean())
        variance = sum(x.var() / x.numel() for x in up_to)
        if apart > _LIMIT * float(variance) ** 0.5 and apart > 1 / left.shape[0]:
            means = [float(x.mean()) for x in (right, left)]
            return (
                f"another distribution: {float(up_to[1].mean()):.3f} of the values are up to "
                f"{float(quantile):.4g}, expected {float(up_to[0].mean()):.3f}; "
                f"mean {means[0]:.4g}, expected {means[1]:.4g}"
            )
    return ""


def _draws(item: torch.Tensor) -> torch.Tensor:
    """A row a draw, in float64; what is no finite number lies at the ends."""
    rows = item.detach().reshape(item.shape[0], -1).to(torch.float64)
    return torch.nan_to_num(rows, nan=1e300, posinf=1e300, neginf=-1e300)
