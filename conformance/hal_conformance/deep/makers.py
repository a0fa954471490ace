"""Deep cases by operator and type: who makes them, and how one is made again from its id."""

from __future__ import annotations

import dataclasses
import functools
import importlib
from collections.abc import Callable, Iterator

from hal.contract import Operator, contract
from hal.errors import UsageError
from hal_conformance.case import Case
from hal_conformance.contract.build import build
from hal_conformance.contract.draft import Ask, Draft
from hal_conformance.contract.draw import seed_of
from hal_conformance.deep.choices import Choices, Replayed, Unfit, code_of, parts_of

__all__ = ["Maker", "Target", "deep_case", "makes", "targets"]

Maker = Callable[[Ask, Choices], Draft]
Takes = Callable[[Ask], bool]

_MAKERS: dict[str, tuple[Maker, Takes]] = {}


@dataclasses.dataclass(frozen=True)
class Target:
    """An operator and a type of which deep cases are drawn."""

    ask: Ask
    maker: Maker

    @property
    def stem(self) -> str:
        """What the ids of its cases begin with."""
        return self.ask.id("")

    def case(self, choices: Choices) -> Case:
        """The case that follows from the choices. Raises Unfit where none does."""
        try:
            draft = self.maker(self.ask, choices)
            draft = dataclasses.replace(draft, slug=f"deep-{code_of(choices.taken)}")
            case = build(self.ask, draft)
        except (ValueError, RuntimeError, IndexError, ZeroDivisionError) as error:
            # An integer that the type does not hold, or what the reference evaluator cannot run.
            raise Unfit(str(error)) from None
        return dataclasses.replace(case, seed=seed_of(self.ask.id(choices.slug)).hex())


def makes(*operators: str, takes: Takes = lambda ask: ask.first) -> Callable[[Maker], Maker]:
    """Register the maker of these operators' deep cases, for every type that `takes` admits."""

    def register(maker: Maker) -> Maker:
        for key in operators:
            _MAKERS[key] = (maker, takes)
        return maker

    return register


def targets() -> Iterator[Target]:
    """Everything of which deep cases are drawn, by operator as the contract has them."""
    _load()
    for operator in contract().operators:
        yield from _targets_of(operator)


@functools.lru_cache(64)
def deep_case(case_id: str) -> Case:
    """The deep case of an id. Raises UsageError where there is none."""
    try:
        stem, numbers = parts_of(case_id)
        found = next((t for t in targets() if t.stem == stem), None)
        if found is None:
            raise Unfit("of this operator and type none is drawn")
        source = Replayed(numbers)
        case = found.case(Choices(source))
        source.finish()
    except Unfit as error:
        raise UsageError(
            f"the suite contract has no deep case {case_id!r}: {error}",
            next_step="copy the id whole, or hal conformance --suite contract --depth deep",
        ) from None
    return case


def _targets_of(operator: Operator) -> Iterator[Target]:
    if operator.key not in _MAKERS:
        return
    maker, takes = _MAKERS[operator.key]
    if operator.since_version != contract().latest(operator.key).since_version:
        return
    for constraint in operator.constraints:
        for type_ in constraint.types:
            ask = Ask(operator, constraint.name, type_)
            if type_.startswith("tensor(") and takes(ask):
                yield Target(ask, maker)


def _load() -> None:
    importlib.import_module("hal_conformance.deep.families")
