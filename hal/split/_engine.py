"""A session's engine over the parts of a split model."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

from hal.arrays import run_by_values
from hal.errors import ExecutionError, HalError, UnsupportedError
from hal.graph import Signature, read_signature
from hal.placement import Evidence, NodePlacement, Placement
from hal.plugins import Registry, load_plugins
from hal.routing._candidate import Candidate
from hal.routing._decide import REFUSALS
from hal.routing._engine import Bound, HostedEngine, LocalEngine, bound_feeds, open_engine
from hal.routing._identity import Known
from hal.split._plan import NotWhole, Part, Place, Plan, make_plan, without
from hal.split._source import Source
from hal.tensor import Value

__all__ = ["SplitEngine", "open_split"]

_ATTEMPTS = 12


@dataclasses.dataclass(frozen=True, eq=False)
class _Opened:
    part: Part
    engine: LocalEngine | HostedEngine


class SplitEngine:
    """Runs the parts one after the other. Values go from part to part as they are: those of an
    engine in this process view its memory, and are not copied for the next one."""

    def __init__(self, plan: Plan, opened: Sequence[_Opened], signature: Signature) -> None:
        self.plan = plan
        self._opened = tuple(opened)
        self._signature = signature
        main = plan.source.graph.graph
        self._constants: dict[str, Value] = {
            name: main.initializers[name]
            for name in plan.source.outputs
            if name in main.initializers
        }
        # What no later part needs is let go: the memory of a big model's middle.
        self._spent: list[list[str]] = []
        later = set(plan.source.outputs)
        for part in reversed([o.part for o in opened]):
            self._spent.append([name for name in (*part.takes, *part.gives) if name not in later])
            later.update(part.takes)
        self._spent.reverse()
        self.run = functools.partial(run_by_values, self.values, signature)

    @property
    def candidate(self) -> Candidate:
        """That of the part which takes longest, by prediction."""
        return max(self._opened, key=lambda o: o.part.seconds).part.candidate

    def values(self, inputs: Mapping[str, Value]) -> dict[str, Value]:
        """Every output of the model, of inputs by name."""
        known: dict[str, Value] = {**self._constants, **inputs}
        for place, opened in enumerate(self._opened):
            given = {name: known[name] for name in opened.part.takes if name in known}
            try:
                known.update(opened.engine.values(given))
            except HalError:
                raise
            except Exception as error:
                device = opened.part.candidate.device
                raise ExecutionError(
                    f"{device.id} failed in part {place + 1}: {type(error).__name__}: {error}",
                    next_step=f"hal doctor {device.backend}",
                ) from error
            for name in self._spent[place]:
                known.pop(name, None)
        return known

    def placement(self) -> Placement:
        nodes: list[NodePlacement] = []
        for opened in self._opened:
            nodes += opened.engine.placement().nodes
        nodes += [NodePlacement(name, "", Evidence.SOLE) for name in self.plan.source.dead]
        return Placement(tuple(nodes))

    def bind(self, feeds: Mapping[str, Any]) -> Bound:
        return bound_feeds(self.run, self._signature, feeds)

    def close(self) -> None:
        for opened in self._opened:
            opened.engine.close()


def open_split(known: Known, refused: UnsupportedError) -> SplitEngine:
    """Plan a model that was refused because no device takes it whole, and compile its parts; where
    a device refuses one after all, plan again without what it refused.

    Raises `refused` where it was for another reason, and what the compilers raise.
    """
    if not isinstance(refused, NotWhole):
        raise refused
    source = Source(known.model)
    with load_plugins() as registry:
        return open_places(registry, source, refused.places, known.signature)


def open_places(
    registry: Registry,
    source: Source,
    places: Sequence[Place],
    signature: Signature,
) -> SplitEngine:
    """The engine over places that have been asked."""
    places = list(places)
    for attempt in range(_ATTEMPTS):
        plan = make_plan(source, places, {})
        opened: list[_Opened] = []
        with contextlib.ExitStack() as stack:
            try:
                for part in plan.parts:
                    engine = _open(registry, source, part)
                    stack.callback(engine.close)
                    opened.append(_Opened(part, engine))
            except REFUSALS as error:
                if attempt + 1 == _ATTEMPTS:
                    raise
                places = [
                    without(source, p, error, part.indices)
                    if p.candidate.device.id == part.candidate.device.id
                    else p
                    for p in places
                ]
                continue
            stack.pop_all()
        return SplitEngine(plan, opened, signature)
    raise AssertionError("the last attempt returns or raises")


def _open(registry: Registry, source: Source, part: Part) -> LocalEngine | HostedEngine:
    model = source.part(part.indices)
    return open_engine(registry, part.candidate, model, read_signature(model))
