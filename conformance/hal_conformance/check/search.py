"""Which node breaks a model: the first whose result diverges, or at which the engine breaks.

Two ways. Where results are wrong, every value in the middle is made an output, and the first node
that differs from the reference run is run alone, on the reference's values. An engine that fuses
nodes may be right when it is looked at like that, and one that crashes gives no values: then the
smallest stretch of nodes that still shows the fault is found by halving, first its end, then its
start.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence

from hal import Outcome, Value
from hal.graph import with_outputs
from hal_conformance.check.parts import Parts
from hal_conformance.check.trial import Engine
from hal_conformance.check.truth import Truth

__all__ = ["Found", "Search"]

_UNKNOWN = 4 << 20
"""Bytes that a value of unknown size is taken for."""
_SUSPECTS = 64
"""How many nodes that differ within the model are tried alone before halving."""


@dataclasses.dataclass(frozen=True)
class Found:
    """The nodes at fault, by their place in `Parts`, the values of theirs that are wrong, and why.
    `reason` is of the nodes run alone."""

    nodes: tuple[int, ...]
    results: tuple[str, ...]
    reason: str


class Search:
    """Looks for what gives `outcome` in a model on a device. `budget` is in bytes, of the values
    that are looked at in one run; `tell` is told what is being done."""

    def __init__(
        self,
        parts: Parts,
        engine: Engine,
        truth: Truth,
        inputs: Mapping[str, Value],
        outcome: Outcome,
        *,
        budget: int,
        tell: Callable[[str], None],
    ) -> None:
        self._parts, self._engine, self._truth = parts, engine, truth
        self._inputs, self._outcome = inputs, outcome
        self._budget, self._tell = budget, tell

    def find(self) -> Found | None:
        """The smallest stretch of nodes that shows the outcome by itself; None where none does."""
        if self._outcome is Outcome.WRONG:
            for tried, position in enumerate(self._diverging()):
                if tried == _SUSPECTS:
                    break
                found = self._alone((position,))
                if found:
                    return found
        count = len(self._parts.nodes)
        end = self._halve(0, count, lambda k: self._alone(range(k)) is not None)
        if end is None:
            return None
        # The largest start that still shows it: count from the end, so that "more" is "bad" again.
        length = self._halve(0, end, lambda n: self._alone(range(end - n, end)) is not None)
        found = self._alone(range(end - (length or end), end))
        return self._narrowed(found) if found else None

    def _halve(self, low: int, high: int, bad: Callable[[int], bool]) -> int | None:
        """The smallest number in (low, high] that is bad; None if `high` is not."""
        if not bad(high):
            return None
        if bad(low + 1):
            return low + 1
        low += 1
        while high - low > 1:
            middle = (low + high) // 2
            self._tell(f"looking between node {low} and node {high}")
            if bad(middle):
                high = middle
            else:
                low = middle
        return high

    def _narrowed(self, found: Found) -> Found:
        """Only the nodes that the wrong results depend on, if these still show it."""
        if not found.results or len(found.nodes) == 1:
            return found
        fewer = self._parts.needed(found.nodes, found.results)
        return (len(fewer) < len(found.nodes) and self._alone(fewer)) or found

    def _alone(self, nodes: Sequence[int]) -> Found | None:
        """What a stretch of nodes shows when it runs alone on the reference's values."""
        parts = self._parts
        results = parts.results(nodes)
        if not results:
            return None
        given = self._truth.values(parts.inputs(nodes))
        judged = self._outcome is Outcome.WRONG
        expected = self._truth.values(results) if judged else {}
        types = {n: expected[n].type if judged else "" for n in results}
        trial = self._engine.run(parts.cut(nodes, given, types), given)
        if not judged:
            same = trial.outcome is self._outcome
            return Found(tuple(nodes), (), trial.reason) if same else None
        if trial.outcome is not Outcome.PASS:
            return None
        reasons = {
            n: reason
            for n in results
            if (reason := self._truth.wrong(n, expected[n], trial.outputs.get(n)))
        }
        if not reasons:
            return None
        return Found(tuple(nodes), tuple(reasons), next(iter(reasons.values())))

    def _diverging(self) -> Iterator[int]:
        """The nodes whose results differ within the whole model, in order."""
        known = set(self._parts.outputs)
        for batch in self._batches():
            self._tell(f"comparing nodes {batch[0] + 1} to {batch[-1] + 1}")
            names = [o for i in batch for o in self._parts.gives(i)]
            asked = [n for n in names if n not in known]
            trial = self._engine.run(with_outputs(self._parts.model, asked), self._inputs)
            if trial.outcome is not Outcome.PASS:
                continue
            expected = self._truth.values(names)
            for position in batch:
                if any(
                    self._truth.wrong(name, expected[name], trial.outputs.get(name))
                    for name in self._parts.gives(position)
                ):
                    yield position

    def _batches(self) -> Iterator[list[int]]:
        """The nodes in order, as many at once as their values fit the budget."""
        sizes = self._parts.sizes(self._inputs)
        batch: list[int] = []
        total = 0
        for position in range(len(self._parts.nodes)):
            names = self._parts.gives(position)
            if not names:
                continue
            size = sum(sizes.get(n, _UNKNOWN) for n in names)
            if batch and total + size > self._budget:
                yield batch
                batch, total = [], 0
            batch.append(position)
            total += size
        if batch:
            yield batch
