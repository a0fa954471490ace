"""Pooling over regions of interest: RoiAlign and MaxRoiPool."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch

from hal_torch.kernels._window import widened

__all__ = ["max_roi_pool", "roi_align"]

Tensor = torch.Tensor
CHUNK = 1 << 24
"""About how many elements an intermediate may have; more regions are done in turns."""


def _in_turns(count: int, each: int, part: Callable[[slice], Tensor], empty: Tensor) -> Tensor:
    """The parts of `count` regions, each of which makes `each` elements on the way."""
    step = max(CHUNK // max(each, 1), 1)
    parts = [part(slice(at, at + step)) for at in range(0, count, step)]
    return torch.cat(parts) if parts else empty


def roi_align(
    x: Tensor,
    rois: Tensor,
    batches: Tensor,
    size: tuple[int, int],
    *,
    scale: float,
    samples: int,
    half_pixel: bool,
    take_max: bool,
) -> Tensor:
    """Regions (n, 4) as (x1, y1, x2, y2) of x (batch, channels, height, width), sampled bilinearly
    and averaged over the samples of each of the bins: (n, channels, *size). With `take_max` the
    largest weighted neighbour of any sample, which is how the standard's cases have it."""
    channels, height, width = x.shape[1:]
    wide = widened(x)
    rows = wide.permute(0, 2, 3, 1).reshape(wide.shape[0] * wide.shape[2] * wide.shape[3], channels)
    corners = rois.to(wide.dtype) * scale - (0.5 if half_pixel else 0.0)
    start, extent = corners[:, :2], corners[:, 2:] - corners[:, :2]
    if not half_pixel:
        extent = extent.clamp(min=1.0)
    bins = extent / torch.tensor([size[1], size[0]], dtype=extent.dtype, device=x.device)
    if samples > 0:
        grids = torch.full_like(bins, samples)
        largest = [samples, samples]
    else:  # as many as a bin has pixels: the shape depends on the data
        grids = bins.ceil().clamp(min=0)
        largest = [int(n) for n in grids.amax(0).tolist()] if len(rois) else [0, 0]
    empty = wide.new_zeros((0, channels, *size))
    if 0 in largest or not rows.numel():
        return wide.new_zeros((len(rois), channels, *size)).to(x.dtype)

    def part(at: slice) -> Tensor:
        xs = _samples(start[at, 0], bins[at, 0], grids[at, 0], size[1], largest[0], width)
        ys = _samples(start[at, 1], bins[at, 1], grids[at, 1], size[0], largest[1], height)
        count = xs.low.shape[0]
        first = batches[at].long().reshape(-1, 1, 1) * height
        terms: list[Tensor] = []
        for y_index, y_weight in ((ys.low, 1 - ys.ratio), (ys.high, ys.ratio)):
            for x_index, x_weight in ((xs.low, 1 - xs.ratio), (xs.high, xs.ratio)):
                flat = (first + y_index[:, :, None]) * width + x_index[:, None, :]
                weight = (y_weight * ys.inside)[:, :, None] * (x_weight * xs.inside)[:, None, :]
                terms.append(rows[flat.reshape(-1)] * weight.reshape(-1, 1))
        shape = (count, size[0], largest[1], size[1], largest[0], channels)
        if take_max:
            made = torch.stack(terms).amax(0).reshape(shape)
            used = ys.used[:, :, None] & xs.used[:, None, :]
            made = made.masked_fill(~used.reshape(*shape[:-1], 1), -math.inf)
            made = made.amax(dim=(2, 4))
            made = torch.where(made == -math.inf, 0, made)
        else:
            total = (terms[0] + terms[1] + terms[2] + terms[3]).reshape(shape).sum(dim=(2, 4))
            counts = grids[at].prod(1).clamp(min=1).reshape(-1, 1, 1, 1)
            made = total / counts
        return made.permute(0, 3, 1, 2)

    each = size[0] * largest[1] * size[1] * largest[0] * channels * 4
    return _in_turns(len(rois), each, part, empty).to(x.dtype)


class _samples:
    """Samples along one axis of every region: (n, bins x samples)."""

    def __init__(
        self, start: Tensor, bins: Tensor, grid: Tensor, count: int, largest: int, size: int
    ) -> None:
        at = torch.arange(count, device=start.device, dtype=start.dtype).reshape(1, -1, 1)
        step = torch.arange(largest, device=start.device, dtype=start.dtype).reshape(1, 1, -1)
        start, bins, grid = (t.reshape(-1, 1, 1) for t in (start, bins, grid))
        position = start + at * bins + (step + 0.5) * bins / grid.clamp(min=1)
        self.used = (step < grid).expand_as(position).flatten(1)
        position = position.flatten(1)
        self.inside = ((position >= -1) & (position <= size) & self.used).to(start.dtype)
        position = position.clamp(0, size - 1)
        self.low = position.floor().long()
        self.high = (self.low + 1).clamp(max=size - 1)
        self.ratio = position - self.low


def max_roi_pool(x: Tensor, rois: Tensor, pooled: Sequence[int], scale: float) -> Tensor:
    """Regions (n, 5) as (batch, x1, y1, x2, y2), rounded to pixels, both ends included, and cut in
    overlapping bins whose maxima are taken; an empty bin is 0.

    Source: R. Girshick, Fast R-CNN (arXiv 1504.08083), section 2.1.
    """
    height, width = x.shape[2:]
    at = rois[:, 0].long()
    # Half away from zero, which is how C rounds; torch.round is half to even.
    scaled = widened(rois)[:, 1:] * scale
    corners = (scaled.abs() + 0.5).floor() * scaled.sign()
    x_bins = _bins(corners[:, 0], corners[:, 2], pooled[1], width)
    y_bins = _bins(corners[:, 1], corners[:, 3], pooled[0], height)

    def part(chosen: slice) -> Tensor:
        image = x[at[chosen]]
        by_row = [
            image.masked_fill(~y_bins[chosen, i][:, None, :, None], -math.inf).amax(2)
            for i in range(pooled[0])
        ]
        strip = torch.stack(by_row, dim=2)
        bins = [
            strip.masked_fill(~x_bins[chosen, i][:, None, None, :], -math.inf).amax(3)
            for i in range(pooled[1])
        ]
        made = torch.stack(bins, dim=3)
        return torch.where(made == -math.inf, 0, made)

    empty = x.new_zeros((0, x.shape[1], *pooled))
    return _in_turns(len(rois), x.shape[1] * height * width, part, empty)


def _bins(first: Tensor, last: Tensor, count: int, size: int) -> Tensor:
    """Which pixels each bin covers along one axis: (n, bins, pixels)."""
    width = (last - first + 1).clamp(min=1) / count
    index = torch.arange(count, device=first.device, dtype=first.dtype)
    low = (index * width[:, None]).floor() + first[:, None]
    high = ((index + 1) * width[:, None]).ceil() + first[:, None]
    pixel = torch.arange(size, device=first.device, dtype=first.dtype)
    return (pixel >= low[:, :, None]) & (pixel < high[:, :, None])
