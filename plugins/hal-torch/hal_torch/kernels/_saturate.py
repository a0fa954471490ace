"""From the floats in which weighted sums of integers are computed back to the integers."""

from __future__ import annotations

import numpy as np
import torch

__all__ = ["rounded"]


def rounded(x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """In another type: integers are rounded half to even, and saturated; bool is what is not 0."""
    if dtype.is_floating_point or dtype.is_complex:
        return x.to(dtype)
    if dtype == torch.bool:
        return x.round() != 0
    limits = torch.iinfo(dtype)
    greatest = float(limits.max)
    if int(greatest) > limits.max:  # 2^63 and 2^64: the float below is the greatest that fits
        greatest = float(np.nextafter(greatest, 0))
    return x.round().clamp(float(limits.min), greatest).to(dtype)
