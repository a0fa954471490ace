"""Several decisions for one model: the shapes of the inputs say which engine answers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hal.graph import Signature
from hal.placement import Placement
from hal.routing._candidate import Candidate
from hal.routing._engine import Bound, Engine, Run
from hal.routing._sizes import bucket, sizes_of

__all__ = ["ShapedEngine"]

_REMEMBERED = 4096
"""Shapes whose engine is known at once."""


class ShapedEngine:
    """An engine for a model with open dimensions. `usual` answers where nothing else is decided;
    `decided` has the candidate of each bucket that is; `open_` opens one, when it is first needed;
    `arrived` is told the sizes of each bucket that has no decision yet, once."""

    def __init__(
        self,
        usual: Engine,
        signature: Signature,
        decided: Mapping[str, Candidate],
        open_: Callable[[Candidate], Engine],
        arrived: Callable[[dict[str, int]], None],
    ) -> None:
        self._usual = usual
        self._infos = [
            i for i in signature.inputs if i.shape and not all(isinstance(d, int) for d in i.shape)
        ]
        self._names = [i.name for i in self._infos]
        self._decided = dict(decided)
        self._open, self._arrived = open_, arrived
        self._engines: dict[str, Engine] = {usual.candidate.label: usual}
        self._by_bucket: dict[str, Engine] = {}
        self._runs: dict[tuple[Any, ...], Run] = {}
        self._lock = threading.Lock()

    @property
    def candidate(self) -> Candidate:
        """The candidate that answers where nothing else is decided."""
        return self._usual.candidate

    def run(self, names: Sequence[str] | None, feeds: Mapping[str, Any], /) -> list[Any]:
        try:
            run = self._runs[tuple([feeds[name].shape for name in self._names])]
        except (KeyError, AttributeError, TypeError):
            run = self.engine(feeds).run
        return run(names, feeds)

    def engine(self, feeds: Mapping[str, Any]) -> Engine:
        """The engine for feeds of these shapes."""
        try:
            sizes = sizes_of(self._infos, feeds)
            shapes = tuple([feeds[name].shape for name in self._names])
        except (KeyError, AttributeError, TypeError):
            return self._usual  # which says what is wrong with them
        with self._lock:
            found = self._of_bucket(bucket(sizes), sizes)
            if len(self._runs) >= _REMEMBERED:
                self._runs.clear()
            self._runs[shapes] = found.run
        return found

    def _of_bucket(self, name: str, sizes: dict[str, int]) -> Engine:
        if name not in self._by_bucket:
            candidate = self._decided.get(name)
            if candidate is None:
                self._arrived(sizes)
                return self._by_bucket.setdefault(name, self._usual)
            if candidate.label not in self._engines:
                self._engines[candidate.label] = self._open(candidate)
            self._by_bucket[name] = self._engines[candidate.label]
        return self._by_bucket[name]

    def placement(self) -> Placement:
        return self._usual.placement()

    def bind(self, feeds: Mapping[str, Any]) -> Bound:
        return self.engine(feeds).bind(feeds)

    def close(self) -> None:
        with self._lock:
            self._runs.clear()
            for engine in self._engines.values():
                engine.close()
