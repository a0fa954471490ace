"""What `hal.load` opens: a named device's engine, or that of the best candidate."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping, Sequence

from hal.backend import Option
from hal.errors import HalError
from hal.graph import Signature
from hal.model import Model
from hal.plugins import Registry, load_plugins
from hal.routing._candidate import Candidate
from hal.routing._decide import Request
from hal.routing._devices import find, recall
from hal.routing._engine import Engine, open_engine
from hal.routing._environment import Environment
from hal.routing._identity import Known
from hal.routing._report import Route
from hal.routing._resilient import ResilientEngine, Upkeep
from hal.routing._route import Router, pending_document
from hal.routing._shaped import ShapedEngine
from hal.routing._sizes import bucket
from hal.routing._variants import derive
from hal.routing._verify import Verifier
from hal.store import Store

__all__ = ["model_of", "open_named", "open_routed"]

_log = logging.getLogger("hal.routing")
_PENDING = 4
"""The most buckets that one load decides."""


def open_named(
    store: Store, known: Known, device: str, options: Mapping[str, Option], upkeep: Upkeep
) -> Engine:
    """An engine on a device that the user has named. Raises as `open_engine`."""
    environment = Environment()
    registry, found = find(store, environment, device)
    with registry:
        candidate = Candidate(found, dict(options))
        if not upkeep.resilient:
            return open_engine(registry, candidate, known.model, known.signature)
    return _Opener(environment, known, upkeep).kept([candidate])


def open_routed(
    store: Store, known: Known, request: Request, upkeep: Upkeep
) -> tuple[Engine, Route]:
    """The engine of the best candidate that opens, and the decision."""
    router = Router(store, known, request)
    with contextlib.closing(router):
        route = router.route()
        opener = _Opener(router.environment, known, upkeep, request.accuracy)
        ranked = [row.candidate for row in (route.winner, *route.runners_up)]
        engine = opener.kept(ranked) if upkeep.resilient else opener.first(store, route)
        if not _open_dimensions(known.signature):
            return engine, route
        decided = {bucket(route.sizes): engine.candidate}
        for other in _others(router):
            decided[bucket(other.sizes)] = other.winner.candidate

        def arrived(sizes: dict[str, int]) -> None:
            with Store(store.path) as own:
                document = pending_document(known.name, sizes)
                own.put("routes", router.key(sizes), document, group=known.fingerprint)

        def opened(candidate: Candidate) -> Engine:
            if not upkeep.resilient:
                return opener.open(candidate)
            return opener.kept([candidate, *(c for c in ranked if c.label != candidate.label)])

        shaped = ShapedEngine(engine, known.signature, decided, opened, arrived)
        return shaped, route


def _others(router: Router) -> list[Route]:
    """The decisions for other buckets; those that have arrived without one, or with a stale one,
    are decided now."""
    found = []
    undecided = 0
    for other in list(router.others()):
        route, stale = other.stored()
        if (route is None or stale) and undecided < _PENDING:
            undecided += 1
            with contextlib.suppress(HalError):  # then the usual engine answers
                route, stale = other.route(), []
        if route is not None and not stale:
            found.append(route)
    return found


class _Opener:
    """Opens candidates; knows their backends from the store where they are there."""

    def __init__(
        self,
        environment: Environment,
        known: Known,
        upkeep: Upkeep,
        accuracy: float | None = None,
    ) -> None:
        self._environment = environment
        self._known, self._upkeep, self._accuracy = known, upkeep, accuracy

    def kept(self, candidates: Sequence[Candidate]) -> ResilientEngine:
        """An engine that goes on with the next candidate when one fails."""
        known, upkeep = self._known, self._upkeep
        check = None
        if upkeep.verify_every:
            check = Verifier(
                known.model,
                known.signature,
                candidate=candidates[0].device.id,
                accuracy=self._accuracy,
            )
        return ResilientEngine(
            candidates,
            self.open,
            known.signature,
            standby=upkeep.standby,
            check=check,
            every=upkeep.verify_every,
        )

    def first(self, store: Store, route: Route) -> Engine:
        """The winner, or if it does not open any more the next that does."""
        failed: HalError | None = None
        for row in (route.winner, *route.runners_up):
            try:
                return self._of(store, row.candidate)
            except HalError as error:
                _log.warning("%s does not open: %s", row.candidate.label, error)
                failed = failed or error
        raise failed or HalError("a route without candidates")

    def open(self, candidate: Candidate) -> Engine:
        with Store() as store:
            return self._of(store, candidate)

    def _of(self, store: Store, candidate: Candidate) -> Engine:
        known = recall(store, self._environment, candidate.device.id)
        registry: Registry = load_plugins() if known is None else known[0]
        with registry:
            return open_engine(
                registry, candidate, model_of(self._known, candidate, store), self._known.signature,
                hosted=self._upkeep.isolate, deadline=self._upkeep.deadline,
            )  # fmt: skip


def model_of(known: Known, candidate: Candidate, store: Store) -> Model:
    """What is compiled for a candidate: the model, or a variant of it. Raises as `derive`."""
    return derive(known, candidate.variant, store) if candidate.variant else known.model


def _open_dimensions(signature: Signature) -> bool:
    return any(
        not isinstance(dim, int) or dim < 0 for info in signature.inputs for dim in info.shape or ()
    )
