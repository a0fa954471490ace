"""Seeded values for a case: the seed is a hash of the case's id, never of an order."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from hal import ElementType, Tensor
from hal_conformance.contract.numbers import (
    Array,
    bounds,
    is_complex,
    is_float,
    is_integer,
    is_signed,
    largest,
    narrow,
    smallest_normal,
    smallest_subnormal,
)

__all__ = ["WORDS", "Draw", "edges", "has_infinity", "seed_of"]

WORDS = ("", "a", "b", "Zebra", "hello world", "naïve", "日本", "🙂", "  x ", "1.5", "B", "ab")
"""What string tensors are made of: empty, ASCII, several bytes a character, blanks, upper case."""


def seed_of(case_id: str) -> bytes:
    """The seed of a case's draws: 16 bytes of a hash of its id."""
    return hashlib.sha256(case_id.encode()).digest()[:16]


class Draw:
    """Draws for one case. NumPy's RandomState is used because its stream is frozen (NEP 19)."""

    def __init__(self, case_id: str) -> None:
        self._random = np.random.RandomState(np.frombuffer(seed_of(case_id), np.uint32))

    def floats(self, shape: Sequence[int], low: float = -4.0, high: float = 4.0) -> Array:
        """Real numbers from [low, high), float64."""
        return np.asarray(self._random.random_sample(tuple(shape)) * (high - low) + low)

    def integers(self, shape: Sequence[int], low: int, high: int) -> Array:
        """Integers from low to high, both included, int64."""
        return np.asarray(self._random.randint(low, high + 1, tuple(shape), dtype=np.int64))

    def order(self, count: int) -> list[int]:
        """The numbers below `count` in random order."""
        return [int(i) for i in self._random.permutation(count)]

    def tensor(
        self, element: ElementType, shape: Sequence[int], low: float = -4.0, high: float = 4.0
    ) -> Tensor:
        """A tensor of any type, its numbers from [low, high] as far as the type has them."""
        shape = tuple(shape)
        if element is ElementType.STRING:
            chosen = self._random.randint(0, len(WORDS), shape)
            return narrow(np.array(WORDS, dtype=object)[chosen], element)
        if element is ElementType.BOOL:
            return narrow(self._random.randint(0, 2, shape), element)
        if is_integer(element):
            least, most = bounds(element)
            return narrow(self.integers(shape, max(int(low), least), min(int(high), most)), element)
        if is_complex(element):
            return narrow(
                self.floats(shape, low, high) + 1j * self.floats(shape, low, high), element
            )
        if not is_signed(element):
            return narrow(np.exp2(self.integers(shape, -4, 4).astype(np.float64)), element)
        top = largest(element)
        return narrow(self.floats(shape, max(low, -top), min(high, top)), element)

    def distinct(self, element: ElementType, count: int) -> Tensor:
        """A vector in which as many values differ as the type has, in random order."""
        if element is ElementType.STRING:
            return narrow(np.array([f"s{i}" for i in self.order(count)], dtype=object), element)
        order = np.array(self.order(count), dtype=np.int64)
        if element is ElementType.BOOL:
            return narrow(order % 2, element)
        if is_integer(element):
            low, high = bounds(element)
            few = high - low < count
            return narrow(order % (high - low + 1) + low if few else order + max(low, -4), element)
        steps = order.astype(np.float64)
        if element.bits <= 8:
            steps = steps % 4 + 1 if is_signed(element) else np.exp2(steps % 8)
        elif is_complex(element):
            return narrow(steps - 1j * steps[::-1], element)
        return narrow(steps - count // 2 if element.bits > 8 else steps, element)


def edges(element: ElementType, *, nan: bool = False) -> Array:
    """The values at which kernels go wrong: zeros, ones, extremes, infinities, subnormals, halves.

    float64, complex128, integers as int64 or uint64, bool, or strings. NaN only when asked for.
    """
    if element is ElementType.STRING:
        return np.array(WORDS, dtype=object)
    if element is ElementType.BOOL:
        return np.array([False, True])
    if is_integer(element):
        low, high = bounds(element)
        dtype = np.uint64 if element is ElementType.UINT64 else np.int64
        return np.array(
            sorted({low, low + 1, max(-1, low), 0, 1, high // 2, high - 1, high}), dtype
        )
    if is_complex(element):
        return np.array([0, 1, -1, 1j, -1j, 1 + 1j, 0.5 - 2.25j, -3.5 - 0.125j])
    top, least, tiny = largest(element), smallest_normal(element), smallest_subnormal(element)
    values = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, -1.5, 2.5, -2.5, top, -top, least, -least]
    values += [tiny, -tiny, least / 2, -least / 2] if tiny < least else []
    values += [np.inf, -np.inf] if has_infinity(element) else []
    values += [np.nan] if nan else []
    kept = values if is_signed(element) else [v for v in values if v > 0 and np.log2(v) % 1 == 0]
    return np.array(kept)


def has_infinity(element: ElementType) -> bool:
    """Whether a real type has infinities."""
    return is_float(element) and (element.bits >= 16 or element is ElementType.FLOAT8E5M2)
