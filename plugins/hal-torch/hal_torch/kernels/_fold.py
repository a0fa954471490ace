"""The inverse of cutting an image into blocks: overlapping blocks are added up."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F

from hal_torch.kernels._integers import SIGNED, modular
from hal_torch.kernels._window import Window

__all__ = ["fold"]

Tensor = torch.Tensor


def fold(x: Tensor, sizes: Sequence[int], window: Window) -> Tensor:
    """Blocks (batch, channels x kernel, windows) into images (batch, channels, *sizes)."""
    if x.dtype in (torch.float16, torch.bfloat16):  # whose sums are kept in float
        return fold(x.float(), sizes, window).to(x.dtype)
    batch, rows = x.shape[:2]
    channels = rows // math.prod(window.kernel)
    if window.rank == 2 and x.dtype.is_floating_point and window.is_symmetric and x.numel():
        return F.fold(
            x, tuple(sizes), window.kernel, window.dilations, window.begins, window.strides
        )
    if x.dtype == torch.bool:
        return fold(x.to(torch.int32), sizes, window) != 0
    if x.dtype in SIGNED:
        unsigned: Tensor = modular(lambda signed: fold(signed, sizes, window))(x)
        return unsigned
    counts = window.outputs(sizes)
    canvas = [
        size + begin + end
        for size, begin, end in zip(sizes, window.begins, window.ends, strict=True)
    ]
    at = torch.zeros((), dtype=torch.int64, device=x.device)
    rank = window.rank
    for axis in range(rank):
        taps = torch.arange(window.kernel[axis], device=x.device) * window.dilations[axis]
        steps = torch.arange(counts[axis], device=x.device) * window.strides[axis]
        shape = [1] * (2 * rank)
        shape[axis], shape[rank + axis] = len(taps), len(steps)
        at = at * canvas[axis] + (taps[:, None] + steps[None, :]).reshape(shape)
    made = x.new_zeros((batch, channels, math.prod(canvas)))
    made = made.index_add(2, at.reshape(-1), x.reshape(batch, channels, at.numel()))
    made = made.reshape(batch, channels, *canvas)
    for axis, size in enumerate(sizes):
        made = made.narrow(2 + axis, window.begins[axis], size)
    return made
