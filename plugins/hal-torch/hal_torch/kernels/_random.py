"""Random numbers: PyTorch's own, or for a node with a seed a sequence that only the seed decides.

A `torch.Generator` belongs to one device, not every device has one, and no compiler traces it. A
seeded sequence is therefore computed from its indices, as tensors: the same on every device and in
every run.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence

import torch

__all__ = ["Draw", "normal", "uniform"]

Tensor = torch.Tensor
Draw = Callable[[Sequence[int], torch.dtype], Tensor]
"""A function from a shape and one of float32 and float64 to random numbers."""


def _signed(word: int) -> int:
    return word - (1 << 64) if word >> 63 else word


# SplitMix64: G. Steele, D. Lea and C. Flood, "Fast splittable pseudorandom number generators",
# OOPSLA 2014. Two's complement products are those of unsigned integers.
_STEP = _signed(0x9E3779B97F4A7C15)
_FIRST = _signed(0xBF58476D1CE4E5B9)
_SECOND = _signed(0x94D049BB133111EB)


def _mixed(words: Tensor) -> Tensor:
    words = (words ^ _shifted(words, 30)) * _FIRST
    words = (words ^ _shifted(words, 27)) * _SECOND
    return words ^ _shifted(words, 31)


def _shifted(words: Tensor, bits: int) -> Tensor:
    """To the right, with zeros from the left."""
    return (words >> bits) & ((1 << (64 - bits)) - 1)


def _sequence(
    seed: float, shape: Sequence[int], dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Numbers from 0 to below 1, each of as many bits as the type's significand."""
    # The bits of the float, so that seeds that differ by a fraction differ.
    (number,) = struct.unpack("<i", struct.pack("<f", seed))
    indices = torch.arange(1, math.prod(shape) + 1, dtype=torch.int64, device=device)
    start = _mixed(torch.full((), number, dtype=torch.int64, device=device))
    bits = 53 if dtype == torch.float64 else 24
    words = _shifted(_mixed(indices * _STEP + start), 64 - bits)
    return (words.to(dtype) * 2.0**-bits).reshape(tuple(shape))


def uniform(device: torch.device, seed: float | None) -> Draw:
    """Uniform from 0 to below 1; `seed` None: new numbers in each call."""
    if seed is None:
        return lambda shape, dtype: torch.rand(tuple(shape), dtype=dtype, device=device)
    return lambda shape, dtype: _sequence(seed, shape, dtype, device)


def normal(device: torch.device, seed: float | None) -> Draw:
    """The standard normal distribution; seeded by the method of Box and Muller (1958)."""
    if seed is None:
        return lambda shape, dtype: torch.randn(tuple(shape), dtype=dtype, device=device)

    def draw(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        radius, angle = _sequence(seed, (2, *shape), dtype, device)
        return torch.sqrt(-2.0 * torch.log(1.0 - radius)) * torch.cos(2.0 * math.pi * angle)

    return draw
