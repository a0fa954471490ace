"""Grids of integers over real numbers: scales and zero points as a quantiser chooses them."""

from __future__ import annotations

import dataclasses

import numpy as np

from hal import ElementType
from hal_conformance.contract.numbers import Array, bounds, is_signed

__all__ = ["Grid", "bias_grid", "calibrated", "per_channel"]


@dataclasses.dataclass(frozen=True)
class Grid:
    """An integer type with its scale and zero point: a scalar each, or one a channel of `axis`.

    Scales are float32 numbers, so that the wide arithmetic below is over what the model holds.
    """

    element: ElementType
    scale: Array
    zero: Array
    axis: int | None = None

    def quantise(self, real: Array) -> Array:
        """Integers: rounded to nearest with ties to even, then moved, then saturated (the words of
        QuantizeLinear)."""
        low, high = bounds(self.element)
        steps = np.rint(real / self._spread(self.scale, real.ndim))
        shifted = steps + self._spread(self.zero, real.ndim)
        return np.asarray(np.clip(shifted, low, high).astype(np.int64))

    def real(self, integers: Array) -> Array:
        """What DequantizeLinear makes of integers, in float64."""
        rank = integers.ndim
        return np.asarray(
            (integers - self._spread(self.zero, rank)) * self._spread(self.scale, rank)
        )

    @property
    def ends(self) -> tuple[float, float]:
        """The smallest and the largest real number of the grid."""
        low, high = bounds(self.element)
        ends = self.real(np.array([low, high])) if self.axis is None else np.zeros(2)
        return float(ends[0]), float(ends[1])

    def _spread(self, values: Array, rank: int) -> Array:
        if self.axis is None:
            return values
        shape = [1] * rank
        shape[self.axis] = -1
        return values.reshape(shape)


def calibrated(low: float, high: float, element: ElementType, *, symmetric: bool = False) -> Grid:
    """The grid that a MinMax calibration gives: all of the type over [low, high], 0 on it.

    Symmetric: zero point 0 (the middle of an unsigned type), the wider end decides.
    """
    low, high = min(low, 0.0), max(high, 0.0)
    if low == high:
        high = 1.0
    least, most = bounds(element)
    if symmetric:
        scale = np.float32(max(-low, high) / ((most - least) // 2))
        middle = 0 if is_signed(element) else (least + most + 1) // 2
        return Grid(element, np.array(scale, np.float64), np.array(middle))
    scale = np.float32((high - low) / (most - least))
    zero = int(np.clip(np.rint(least - low / float(scale)), least, most))
    return Grid(element, np.array(scale, np.float64), np.array(zero))


def per_channel(weights: Array, axis: int, element: ElementType) -> Grid:
    """A symmetric grid for each channel of an axis, as weights have it."""
    others = tuple(i for i in range(weights.ndim) if i != axis)
    top = np.abs(weights).max(axis=others)
    low, high = bounds(element)
    scale = (np.where(top > 0, top, 1.0) / ((high - low) // 2)).astype(np.float32)
    middle = 0 if is_signed(element) else (low + high + 1) // 2
    return Grid(
        element, scale.astype(np.float64), np.full(scale.shape, middle), axis % weights.ndim
    )


def bias_grid(activation: Grid, weight: Grid) -> Grid:
    """int32 at the scale of the products, by the same channels, zero point 0: so it is added to
    the accumulator without a change."""
    scale = (activation.scale * weight.scale).astype(np.float32).astype(np.float64)
    return Grid(
        ElementType.INT32,
        scale,
        np.zeros(scale.shape, np.int64),
        None if weight.axis is None else 0,
    )
