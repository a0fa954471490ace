"""Pooling that torch's own operators do not do: asymmetric or large padding, dilation, all axes."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from hal_torch.kernels._window import Window

__all__ = ["global_indices", "max_pool", "max_pool_indices", "sum_pool", "tap_counts", "torch_pads"]

Tensor = torch.Tensor
MAX_POOL = (F.max_pool1d, F.max_pool2d, F.max_pool3d)
_WITH_INDICES = (
    F.max_pool1d_with_indices,
    F.max_pool2d_with_indices,
    F.max_pool3d_with_indices,
)


def torch_pads(begins: Sequence[int], ends: Sequence[int]) -> list[int]:
    """Padding in the order of torch.nn.functional.pad: the last axis first."""
    return [p for pair in zip(reversed(begins), reversed(ends), strict=True) for p in pair]


def _padded(x: Tensor, window: Window, value: float) -> tuple[Tensor, list[int], list[int]]:
    """The input with just what its windows cover; the padding before it; the windows' counts."""
    sizes = x.shape[2:]
    counts = window.outputs(sizes)
    begins, _ = window.padding(sizes)
    ends = [
        (count - 1) * stride + extent - size - begin
        for count, stride, extent, size, begin in zip(
            counts, window.strides, window.extents, sizes, begins, strict=True
        )
    ]
    return F.pad(x, torch_pads(begins, ends), value=value), begins, counts


def _lowest(dtype: torch.dtype) -> float:
    return float("-inf") if dtype.is_floating_point else torch.iinfo(dtype).min


def _empty(x: Tensor, window: Window) -> bool:
    return 0 in window.outputs(x.shape[2:]) or not x.numel()


def max_pool(x: Tensor, window: Window) -> Tensor:
    """The maximum of each window."""
    if _empty(x, window):
        return x.new_empty((*x.shape[:2], *window.outputs(x.shape[2:])))
    x, _, _ = _padded(x, window, _lowest(x.dtype))
    pool = MAX_POOL[window.rank - 1]
    return pool(x, window.kernel, window.strides, (0,) * window.rank, window.dilations)


def max_pool_indices(x: Tensor, window: Window) -> tuple[Tensor, list[Tensor]]:
    """The maximum of each window, and where the first one lies along each axis of the input."""
    sizes = x.shape[2:]
    if _empty(x, window):
        made = x.new_empty((*x.shape[:2], *window.outputs(sizes)))
        return made, [made.long()] * window.rank
    # Widened, so that an element is never mistaken for the padding.
    wide = x if x.dtype.is_floating_point else x.float()
    padded, begins, _ = _padded(wide, window, float("-inf"))
    pool = _WITH_INDICES[window.rank - 1]
    values, flat = pool(padded, window.kernel, window.strides, (0,) * window.rank, window.dilations)
    places: list[Tensor] = []
    for axis in reversed(range(window.rank)):
        place = flat % padded.shape[2 + axis] - begins[axis]
        places.append(place.clamp(0, sizes[axis] - 1))
        flat = flat // padded.shape[2 + axis]
    return values.to(x.dtype), places[::-1]


def global_indices(places: Sequence[Tensor], shape: Sequence[int], column_major: bool) -> Tensor:
    """Places along the spatial axes as indices into the whole input of this shape. Column-major
    turns the order of the spatial axes around, not that of batch and channels."""
    sizes = shape[2:]
    order = range(len(sizes))
    flat = torch.zeros_like(places[0])
    for axis in reversed(order) if column_major else order:
        flat = flat * sizes[axis] + places[axis]
    planes = torch.arange(shape[0] * shape[1], device=flat.device)
    planes = planes.reshape(shape[0], shape[1], *(1,) * len(sizes))
    return flat + planes * int(np.prod(sizes, dtype=np.int64))


def sum_pool(x: Tensor, window: Window) -> Tensor:
    """The sum of each window, zeros around the input."""
    counts = window.outputs(x.shape[2:])
    if 0 in counts or not x.numel():
        return x.new_zeros((*x.shape[:2], *counts))
    x, _, _ = _padded(x, window, 0.0)
    if window.is_dilated:
        for axis in range(window.rank):
            x = x.unfold(2 + axis, window.extents[axis], window.strides[axis])
            x = x[..., :: window.dilations[axis]]
        return x.sum(dim=list(range(-window.rank, 0)))
    if window.rank == 1:
        flat = F.avg_pool2d(
            x[:, :, None],
            (1, *window.kernel),
            (1, *window.strides),
            divisor_override=1,
        )
        return flat[:, :, 0]
    pool = F.avg_pool2d if window.rank == 2 else F.avg_pool3d
    return pool(x, window.kernel, window.strides, divisor_override=1)


def tap_counts(sizes: Sequence[int], window: Window, include_pad: bool) -> np.ndarray:
    """How many elements of each window count: those inside the input, or inside its padding too;
    never those that `ceil_mode` reaches beyond."""
    begins, ends = window.padding(sizes)
    found: list[np.ndarray] = []
    for axis, (size, count) in enumerate(zip(sizes, window.outputs(sizes), strict=True)):
        taps = np.arange(window.kernel[axis]) * window.dilations[axis] - begins[axis]
        at = np.arange(count)[:, None] * window.strides[axis] + taps
        low, high = (-begins[axis], size + ends[axis]) if include_pad else (0, size)
        found.append(((at >= low) & (at < high)).sum(axis=1))
    return functools.reduce(np.multiply.outer, found)
