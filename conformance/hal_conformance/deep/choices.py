"""Choices: the small whole numbers from which a deep case follows.

A maker asks for one number after the other. While it searches, Hypothesis gives them; the list of
what it gave is the code in the case's id, and from that list the same case is made again.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Protocol, TypeVar

__all__ = ["Choices", "Replayed", "Shape", "Unfit", "code_of", "is_deep", "parts_of"]

T = TypeVar("T")
Shape = tuple[int, ...]

_EXTENTS = (1, 2, 3, 0, 4, 5, 7, 8, 16, 17, 33)
"""From the simplest on. Past 8 they are those at which vectors of a processor end, or just not."""
_ID = re.compile(r"(?P<stem>contract/[^/]+/.+-)deep-(?P<code>[0-9]{1,6}(\.[0-9]{1,6})*)")
_LARGEST = 4096  # elements of a tensor


class Unfit(Exception):
    """These choices make no case."""


class Source(Protocol):
    """Gives the next number from 0 to `last`, both included."""

    def __call__(self, last: int) -> int: ...


class Choices:
    """Records what a source gives; smaller numbers are simpler cases."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.taken: list[int] = []
        self.slug = ""

    def number(self, low: int, high: int) -> int:
        """A whole number from low to high, both included."""
        self.taken.append(self._source(high - low))
        return low + self.taken[-1]

    def one_of(self, options: Sequence[T]) -> T:
        """One of the options, the simplest first."""
        return options[self.number(0, len(options) - 1)]

    def flag(self) -> bool:
        """Whether; no is simpler."""
        return bool(self.number(0, 1))

    def order(self, count: int) -> list[int]:
        """The numbers below count in some order."""
        left = list(range(count))
        return [left.pop(self.number(0, len(left) - 1)) for _ in range(count)]

    def shape(self, low: int = 0, high: int = 4, *, empty: bool = True, most: int = 0) -> Shape:
        """A shape of a rank from low to high, of at most `most` elements; `empty`: some extent may
        be 0."""
        return tuple(self.extents(self.number(low, high), empty=empty, most=most))

    def extents(self, count: int, *, empty: bool = True, most: int = 0) -> list[int]:
        """So many extents, of at most `most` elements together."""
        found: list[int] = []
        for _ in range(count):
            room = (most or _LARGEST) // max(1, math.prod(e for e in found if e))
            fit = [e for e in _EXTENTS if (e or empty) and e <= max(1, room)]
            found.append(self.one_of(fit))
        return found

    def broadcast(self) -> tuple[Shape, Shape]:
        """Two shapes that broadcast to one."""
        whole = self.shape(0, 5)
        shapes = []
        for _ in range(2):
            kept = whole[self.number(0, len(whole)) :]
            shapes.append(tuple(1 if self.flag() else extent for extent in kept))
        return shapes[0], shapes[1]

    def axis(self, rank: int) -> int:
        """An axis, from the front or from the back."""
        at = self.number(0, 2 * rank - 1)
        return at if at < rank else rank - 1 - at

    def axes(self, rank: int, least: int = 0) -> list[int]:
        """Some axes, at least so many, in order, each from the front or from the back."""
        chosen = [i for i in range(rank) if self.flag()]
        chosen = chosen if len(chosen) >= least else list(range(least))
        return [i - rank if self.flag() else i for i in chosen]

    def seed(self) -> str:
        """The slug of the draws of the values: few of them, so that a failure shrinks to the first
        that shows it."""
        self.slug = f"deep{self.number(0, 99)}"
        return self.slug


class Replayed:
    """The source of a recorded list. Raises Unfit where a number is missing or too large."""

    def __init__(self, numbers: Sequence[int]) -> None:
        self._left = list(numbers)

    def __call__(self, last: int) -> int:
        if not self._left or self._left[0] > last:
            raise Unfit("the numbers of its id make no case")
        return self._left.pop(0)

    def finish(self) -> None:
        """Raises Unfit when numbers are left."""
        if self._left:
            raise Unfit("its id has more numbers than the case")


def code_of(numbers: Sequence[int]) -> str:
    """The numbers as part of an id: "3.0.12"."""
    return ".".join(map(str, numbers))


def is_deep(case_id: str) -> bool:
    """Whether an id is that of a deep case."""
    return _ID.fullmatch(case_id) is not None


def parts_of(case_id: str) -> tuple[str, list[int]]:
    """What a deep case's id begins with, before "deep-", and its numbers. Raises Unfit for another
    id."""
    match = _ID.fullmatch(case_id)
    if match is None:
        raise Unfit("it is not written as the id of a deep case")
    return match["stem"], [int(part) for part in match["code"].split(".")]
