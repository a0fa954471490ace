"""GridSample where torch.nn.functional.grid_sample differs from the standard, or has no kernel.

torch reflects before it rounds to the nearest element; ONNX's reference and onnxruntime round
first. Of a cubic sample torch and onnxruntime bring the neighbours inside, and so does this; the
reference moves the position too, which for `border` gives other values.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch

from hal_torch.kernels._sample import gather_image

__all__ = ["grid_sample", "positions"]

Tensor = torch.Tensor
CUBIC_A = -0.75
"""The factor of the cubic kernel, as in torch and onnxruntime; the standard gives none."""


def positions(grid: Tensor, sizes: Sequence[int], align_corners: bool) -> list[Tensor]:
    """The grid (batch, *outputs, rank), which names the last axis first, in elements of the input:
    one tensor (batch, points) an axis."""
    found: list[Tensor] = []
    for axis, size in enumerate(sizes):
        at = grid[..., len(sizes) - 1 - axis].flatten(1)
        if align_corners:
            found.append((at + 1) / 2 * (size - 1))
        else:
            found.append(((at + 1) * size - 1) / 2)
    return found


def grid_sample(x: Tensor, grid: Tensor, mode: str, padding: str, align_corners: bool) -> Tensor:
    """Samples of x (batch, channels, *sizes), over any number of axes and any type that indexing
    takes where `mode` is "nearest": (batch, channels, *outputs)."""
    sizes = x.shape[2:]
    at = positions(grid, sizes, align_corners)
    if mode == "nearest":
        at = [p.round() for p in at]
    if mode != "cubic":
        at = [_inside(p, size, padding, align_corners) for p, size in zip(at, sizes, strict=True)]
    shape = (x.shape[0], x.shape[1], *grid.shape[1:-1])
    if mode == "nearest":
        return _picked(x, at, padding, align_corners).reshape(shape)
    made = x.new_zeros((*x.shape[:2], at[0].shape[1]))
    taps = [_taps(p, mode) for p in at]
    for chosen in itertools.product(*taps):
        weight = chosen[0][1]
        for _, factor in chosen[1:]:
            weight = weight * factor
        picked = _picked(x, [index for index, _ in chosen], padding, align_corners)
        made = made + picked * weight[:, None]
    return made.reshape(shape)


def _taps(position: Tensor, mode: str) -> list[tuple[Tensor, Tensor]]:
    """Neighbours and their weights along one axis."""
    low = position.floor()
    t = position - low
    if mode == "linear":
        return [(low, 1 - t), (low + 1, t)]
    a = CUBIC_A
    return [
        (low - 1, _far(t + 1, a)),
        (low, _near(t, a)),
        (low + 1, _near(1 - t, a)),
        (low + 2, _far(2 - t, a)),
    ]


def _near(t: Tensor, a: float) -> Tensor:
    return ((a + 2) * t - (a + 3)) * t * t + 1


def _far(t: Tensor, a: float) -> Tensor:
    return ((a * t - 5 * a) * t + 8 * a) * t - 4 * a


def _inside(position: Tensor, size: int, padding: str, align_corners: bool) -> Tensor:
    """Positions outside the image brought inside; with zeros around it they stay."""
    if padding == "zeros":
        return position
    low, high = (0.0, size - 1.0) if align_corners else (-0.5, size - 0.5)
    border = padding == "border"
    moved = position.clamp(0, size - 1) if border else _reflected(position, low, high)
    return torch.where((position < low) | (position > high), moved, position)


def _reflected(position: Tensor, low: float, high: float) -> Tensor:
    span = high - low
    if span <= 0:
        return torch.zeros_like(position)
    distance = torch.where(position < low, low - position, position - high)
    turns = (distance / span).trunc()
    rest = distance - turns * span
    from_low = (turns % 2 == 0) == (position < low)
    return torch.where(from_low, low + rest, high - rest)


def _picked(x: Tensor, indices: Sequence[Tensor], padding: str, align_corners: bool) -> Tensor:
    """Elements at whole positions, which may be outside: (batch, channels, points)."""
    sizes = x.shape[2:]
    if padding == "reflection":
        indices = [
            _inside(p, size, padding, align_corners).trunc()
            for p, size in zip(indices, sizes, strict=True)
        ]
    clamped = [p.clamp(0, size - 1).long() for p, size in zip(indices, sizes, strict=True)]
    picked = gather_image(x, clamped)
    if padding != "zeros":
        return picked
    outside = torch.zeros_like(indices[0], dtype=torch.bool)
    for p, size in zip(indices, sizes, strict=True):
        outside = outside | (p < 0) | (p > size - 1)
    return picked.masked_fill(outside[:, None], 0)
