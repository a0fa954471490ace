"""Which older versions mean something else than the newest: the list that cases are made for."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

from hal.contract import Operator, contract
from hal_conformance.contract.draft import Ask, Draft

__all__ = ["OLDER", "Older", "asks_of", "older"]


@dataclasses.dataclass(frozen=True)
class Older:
    """A version of an operator, and in what it differs from the newest."""

    operator: str
    version: int
    why: str
    generator: Callable[[Ask], Iterator[Draft]]

    def resolve(self) -> Operator:
        """The version in the contract. Raises ValueError if there is none."""
        for version in contract().versions_of(self.operator):
            if version.since_version == self.version:
                return version
        raise ValueError(f"{self.operator} has no version {self.version}")


OLDER: list[Older] = []
"""Filled by the modules of this package, in their order."""

_TYPES = ("tensor(float)", "tensor(double)")


def older(
    why: str, **versions: tuple[int, ...]
) -> Callable[[Callable[[Ask], Iterator[Draft]]], Callable[[Ask], Iterator[Draft]]]:
    """Register a generator for versions of operators, by name."""

    def register(generator: Callable[[Ask], Iterator[Draft]]) -> Callable[[Ask], Iterator[Draft]]:
        for operator, numbers in versions.items():
            OLDER.extend(Older(operator, number, why, generator) for number in numbers)
        return generator

    return register


def asks_of(operator: Operator) -> Iterator[Ask]:
    """The real types of the first constraint that has such: what differs is not the types."""
    real = (c for c in operator.constraints if not set(_TYPES).isdisjoint(c.types))
    constraint = next(real, operator.constraints[0])
    for type_ in _TYPES:
        if type_ in constraint.types:
            yield Ask(operator, constraint.name, type_)
