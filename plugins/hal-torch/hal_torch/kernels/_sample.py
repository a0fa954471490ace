"""Values between the elements of an image, at positions that the data gives."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence

import torch

__all__ = ["gather_image", "sample_zeros"]

Tensor = torch.Tensor


def gather_image(image: Tensor, indices: Sequence[Tensor]) -> Tensor:
    """Elements of (batch, channels, *sizes) at one index (batch, points) an axis, all in range:
    (batch, channels, points)."""
    flat = torch.zeros_like(indices[0])
    for size, index in zip(image.shape[2:], indices, strict=True):
        flat = flat * size + index
    rows = image.reshape(*image.shape[:2], math.prod(image.shape[2:]))
    return rows.gather(2, flat[:, None].expand(-1, image.shape[1], -1))


def sample_zeros(image: Tensor, positions: Sequence[Tensor]) -> Tensor:
    """N-linear samples of (batch, channels, *sizes) at one position (batch, points) an axis, with
    zeros around the image: (batch, channels, points)."""
    sizes = image.shape[2:]
    if not math.prod(sizes):
        return image.new_zeros((*image.shape[:2], positions[0].shape[1]))
    lower = [p.floor() for p in positions]
    terms: list[Tensor] = []
    for corner in itertools.product((0, 1), repeat=len(sizes)):
        weight = torch.ones_like(positions[0])
        indices: list[Tensor] = []
        for size, low, position, step in zip(sizes, lower, positions, corner, strict=True):
            part = position - low if step else 1 - (position - low)
            index = low + step
            weight = weight * torch.where((index >= 0) & (index < size), part, 0)
            indices.append(index.clamp(0, size - 1).long())
        terms.append(gather_image(image, indices) * weight[:, None])
    return functools.reduce(torch.add, terms)
