"""An engine that outlives its engines: when one dies, hangs or begins to answer wrongly, the next
candidate answers the request.

The one that failed is put aside for a while, longer each time, and tried again after it. A request
is given to each candidate once, so that one which kills every engine ends as an error.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from hal.errors import ExecutionError, HalError, HostError, UnavailableError, UsageError
from hal.graph import Signature
from hal.placement import Placement
from hal.routing._candidate import Candidate
from hal.routing._engine import Bound, Engine, LocalEngine, bound_feeds

__all__ = ["ASIDE", "Check", "ResilientEngine", "Upkeep"]

_log = logging.getLogger("hal.session")

ASIDE = 30.0
"""Seconds for which a candidate is put aside after its first failure; doubled at each further one,
up to _LONGEST."""
_LONGEST = 600.0


class Check(Protocol):
    """Looks at answers."""

    def __call__(self, feeds: Mapping[str, Any], outputs: Mapping[str, Any], /) -> str:
        """What is wrong with outputs, given feeds and outputs by name; "" when nothing is."""
        ...

    def close(self) -> None: ...


@dataclasses.dataclass(frozen=True)
class Upkeep:
    """What is done so that a session goes on. `isolate`: engines run in processes of their own, and
    the next candidate answers when one dies. `standby`: the next is kept open. `deadline`: seconds
    for a request in such a process. `verify_every`: every n-th request is repeated on the
    reference; 0 is never. Raises UsageError for what makes no sense."""

    isolate: bool = False
    standby: bool = False
    deadline: float = 60.0
    verify_every: int = 0

    def __post_init__(self) -> None:
        if self.standby and not self.isolate:
            raise UsageError(
                "a standby takes over from an engine that dies, and one in this process takes the "
                "process along",
                next_step="hal.load(..., isolate=True, standby=True)",
            )
        if self.verify_every < 0:
            raise UsageError(f"verify_every is a number of requests, got {self.verify_every}")
        if not self.deadline > 0:
            raise UsageError(f"a deadline is a number of seconds, got {self.deadline:g}")

    @property
    def resilient(self) -> bool:
        return self.isolate or self.verify_every > 0


@dataclasses.dataclass
class _Place:
    """A candidate, its engine while one is open, and how it has done."""

    candidate: Candidate
    engine: Engine | None = None
    failures: int = 0
    until: float = 0.0
    """The time before which it is not tried again."""


class ResilientEngine:
    """The engine of the first candidate that is well; `run` may be called from several threads.

    `open_` opens a candidate, and raises a HalError if it cannot. With `standby` the next candidate
    is kept open too. The only one of its kind is its own next: opened anew. Every `every`-th
    request is given to `check` with its answer; one that is wrong counts as a failure of the
    device, and the answer that takes its place is checked too.
    """

    def __init__(
        self,
        candidates: Sequence[Candidate],
        open_: Callable[[Candidate], Engine],
        signature: Signature,
        *,
        standby: bool = False,
        check: Check | None = None,
        every: int = 0,
        aside: float = ASIDE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._open, self._signature = open_, signature
        self._check, self._every = check, every if check else 0
        self._aside, self._clock = aside, clock
        self._lock = threading.RLock()
        self._count = itertools.count(1)
        self._warming: threading.Thread | None = None
        self._closed = False
        self.events: list[str] = []
        """What has happened: one line for each time that an engine was left."""
        wanted = list(candidates)
        if len(wanted) == 1:
            wanted *= 2  # a fresh engine of the only one
        self._places = [_Place(candidate) for candidate in wanted]
        self._standby = standby
        self._current = self._first_open()
        self._warm()

    @property
    def candidate(self) -> Candidate:
        """The candidate that answers now."""
        return self._current.candidate

    def run(self, names: Sequence[str] | None, feeds: Mapping[str, Any], /) -> list[Any]:
        """As an engine's. Raises what the feeds are wrong with, and what the last candidate raised
        when all of them fail."""
        tried: list[_Place] = []
        due = self._every > 0 and next(self._count) % self._every == 0
        while True:
            place, engine = self._serving(tried)
            try:
                found = engine.run(names, feeds)
                wrong = self._wrong(names, feeds, found) if due else ""
            except UsageError:
                raise  # of the feeds: no other candidate would take them
            except Exception as error:  # noqa: BLE001 (an engine in this process raises anything)
                self._leave(place, engine, error, tried)
                tried.append(place)
                continue
            if not wrong:
                return found
            self._leave(place, engine, ExecutionError(f"wrong answers: {wrong}"), tried)
            tried.append(place)

    def placement(self) -> Placement:
        return self._serving([])[1].placement()

    def bind(self, feeds: Mapping[str, Any]) -> Bound:
        return bound_feeds(self.run, self._signature, feeds)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            warming = self._warming
        if warming is not None:
            warming.join()
        with self._lock:
            for place in self._places:
                _end(place, final=True)
            if self._check is not None:
                self._check.close()

    def _wrong(
        self, names: Sequence[str] | None, feeds: Mapping[str, Any], found: list[Any]
    ) -> str:
        if self._check is None:
            return ""
        wanted = names or [info.name for info in self._signature.outputs]
        return self._check(feeds, dict(zip(wanted, found, strict=True)))

    def _serving(self, tried: Sequence[_Place]) -> tuple[_Place, Engine]:
        """The place that answers now and its engine. Raises UnavailableError when every one has
        been tried for this request, or none opens."""
        place, engine = self._current, self._current.engine
        if engine is not None and place not in tried:
            if self._places[0] is not place and self._clock() >= self._places[0].until:
                self._warm()  # the best one may be well again
            return place, engine
        with self._lock:
            if self._closed:
                raise UsageError("the session is closed")
            if self._current.engine is None or self._current in tried:
                self._current = self._first_open(tried)
            self._warm()
            engine = self._current.engine
            if engine is None:  # `_first_open` gives none that is closed
                raise UnavailableError("no candidate is open", next_step="hal devices")
            return self._current, engine

    def _first_open(self, tried: Sequence[_Place] = ()) -> _Place:
        """The best place that is open or opens: those that are put aside come last."""
        now = self._clock()
        left = [place for place in self._places if place not in tried]
        left.sort(key=lambda place: (place.until > now, place.engine is None and bool(tried)))
        reasons = []
        for place in left:
            if place.engine is None:
                try:
                    place.engine = self._open(place.candidate)
                except HalError as error:
                    reasons.append(f"{place.candidate.label}: {error}")
                    self._put_aside(place)
                    continue
            return place
        said = "; ".join([*self.events[-len(self._places) :], *reasons])
        raise UnavailableError(
            f"no candidate is left to answer: {said}", next_step="hal devices, or hal route MODEL"
        )

    def _leave(
        self, place: _Place, engine: Engine, error: Exception, tried: Sequence[_Place]
    ) -> None:
        """Put a failed place aside, once for each engine that failed."""
        with self._lock:
            if self._closed:
                raise UsageError("the session is closed")
            if place.engine is not engine:
                return  # another thread has seen the same engine fail
            self._put_aside(place)
            cause = (
                str(error) if isinstance(error, HalError) else f"{type(error).__name__}: {error}"
            )
            event = f"{place.candidate.label} failed and is put aside: {cause}"
            self.events.append(event)
            _log.warning("%s", event)
            _end(place, wait=not isinstance(error, HostError))

    def _put_aside(self, place: _Place) -> None:
        place.until = self._clock() + min(_LONGEST, self._aside * 2**place.failures)
        place.failures += 1

    def _warm(self) -> None:
        """Open, in a thread, the next candidate when one is kept warm, and the best one again when
        its time has come."""
        with self._lock:
            if self._closed or (self._warming is not None and self._warming.is_alive()):
                return
            now, best = self._clock(), self._places[0]
            wanted = []
            if best is not self._current and best.engine is None and now >= best.until:
                wanted.append(best)
            if self._standby:
                others = [p for p in self._places if p is not self._current and now >= p.until]
                if others and not any(p.engine is not None for p in others):
                    wanted += [p for p in others[:1] if p not in wanted]
            if not wanted:
                return
            self._warming = threading.Thread(
                target=self._open_all, args=(wanted,), name="hal-standby", daemon=True
            )
            self._warming.start()

    def _open_all(self, places: Sequence[_Place]) -> None:
        for place in places:
            with self._lock:
                if self._closed:
                    return
            try:
                engine = self._open(place.candidate)
            except HalError as error:
                with self._lock:
                    self._put_aside(place)
                _log.warning("%s does not open: %s", place.candidate.label, error)
                continue
            with self._lock:
                if self._closed or place.engine is not None:
                    engine.close()
                    continue
                place.engine = engine
                if place is self._places[0] and self._current is not place:
                    self._current = place
                    _log.warning("%s answers again", place.candidate.label)


def _end(place: _Place, *, wait: bool = True, final: bool = False) -> None:
    """Close a place's engine. One that hangs in another thread is not waited for, and one in this
    process may be in another thread's use: it goes when nobody holds it any more."""
    engine, place.engine = place.engine, None
    if engine is None or (isinstance(engine, LocalEngine) and not final):
        return
    if wait:
        with contextlib.suppress(HalError):
            engine.close()
    else:
        threading.Thread(target=_close_quietly, args=(engine,), daemon=True).start()


def _close_quietly(engine: Engine) -> None:
    with contextlib.suppress(HalError):
        engine.close()
