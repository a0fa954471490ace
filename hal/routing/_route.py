"""Routing a model: from the store where that holds, else by a decision that is then kept."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from hal.arrays import value_of
from hal.errors import UsageError, did_you_mean
from hal.plugins import Registry, load_plugins
from hal.policy import PolicySpec
from hal.routing._decide import Request, Say, decide
from hal.routing._environment import Environment, changes
from hal.routing._facts import facts_of
from hal.routing._identity import Known, identify
from hal.routing._policy import Policy
from hal.routing._report import Route
from hal.routing._sizes import bucket, sizes_of
from hal.routing._variants import clear_variants
from hal.store import Store
from hal.tensor import Value

__all__ = [
    "Router",
    "Stored",
    "clear_routes",
    "pending_document",
    "request_of",
    "route",
    "stored_routes",
    "values_of",
]

_log = logging.getLogger("hal.routing")


def route(
    model: Any,
    *,
    devices: tuple[str, ...] = (),
    policy: str = "latency",
    accuracy: float | None = None,
    inputs: Mapping[str, Any] | None = None,
    sizes: Mapping[str, int] | None = None,
    budget: float = 20.0,
    allow_emulated: bool = False,
    cache: bool = True,
    say: Say = lambda text: None,
) -> Route:
    """Decide which candidate runs a model best, with the evidence.

    `model` is what `hal.load` takes. `devices` are those to choose from, none meaning every ready
    one. `policy` is "latency", "p99", "throughput", "memory" or a plugin's, with limits such as
    "latency,memory<2GiB". `accuracy` is the relative L2 error that every output may have; without
    it results are those of float32, within what the model's conditioning admits. `inputs` are
    feeds as for `Session.run`; without them they are drawn, and `sizes` gives those of open
    dimensions. `budget` is in seconds of measurement. With `cache` a stored decision that still
    holds is taken; `say` gets a line for each step.

    Raises UsageError for names and values that do not exist, ModelError for what is no valid
    model, UnavailableError when no device is ready, and UnsupportedError, with each reason, when
    no candidate gives right answers.
    """
    with Store() as store:
        known = identify(model, store)
        request = request_of(
            known,
            devices=devices,
            policy=policy,
            accuracy=accuracy,
            inputs=inputs,
            sizes=sizes or {},
            budget=budget,
            allow_emulated=allow_emulated,
        )
        router = Router(store, known, request, say)
        with contextlib.closing(router):
            return router.route(cache=cache)


def request_of(
    known: Known,
    *,
    policy: str,
    accuracy: float | None,
    inputs: Mapping[str, Any] | None,
    **given: Any,
) -> Request:
    """A request, checked. Raises UsageError."""
    if accuracy is not None and not 0 < accuracy < 1:
        raise UsageError(f"accuracy is a relative error between 0 and 1, got {accuracy:g}")
    if not given["budget"] > 0:
        raise UsageError(f"a budget is a number of seconds, got {given['budget']:g}")
    values = None if inputs is None else values_of(known, inputs)
    return Request(
        policy=Policy.parse(policy, _policies), accuracy=accuracy, inputs=values, **given
    )


def _policies() -> dict[str, PolicySpec]:
    """The goals that plugins provide; only a goal that is none of HAL's own costs loading them."""
    with load_plugins() as registry:
        return {name: policy.spec for name, policy in registry.policies.items()}


def values_of(known: Known, inputs: Mapping[str, Any]) -> dict[str, Value]:
    """Feeds as values. Raises UsageError, expected against got, for what does not fit the model."""
    infos = {i.name: i for i in (*known.signature.inputs, *known.signature.defaults)}
    for name in inputs:
        if name not in infos:
            raise UsageError(f"the model has no input {name!r}.{did_you_mean(name, infos)}")
    missing = [i.name for i in known.signature.inputs if i.name not in inputs]
    if missing:
        raise UsageError(f"no value for input {', '.join(map(repr, missing))}")
    return {name: value_of(infos[name], given) for name, given in inputs.items()}


class Router:
    """Routes one model; keeps the plugins loaded from one decision to the next."""

    def __init__(
        self,
        store: Store,
        known: Known,
        request: Request,
        say: Say = lambda text: None,
        *,
        parent: Router | None = None,
    ) -> None:
        self.store, self.known, self.request = store, known, request
        self.environment: Environment = parent.environment if parent else Environment()
        self._say = say
        self._parent = parent
        self._registry: Registry | None = None

    @property
    def registry(self) -> Registry:
        if self._parent is not None:
            return self._parent.registry
        if self._registry is None:
            self._registry = load_plugins()
        return self._registry

    def route(self, *, cache: bool = True) -> Route:
        """The stored decision if it holds, else a new one. Raises as `route` does."""
        stored, stale = self.stored() if cache else (None, [])
        if stored is not None and not stale:
            return stored
        if stale:
            _log.warning("the stored route is stale, and is decided anew: %s", "; ".join(stale))
        made = decide(
            self.registry, self.known, self.store, self.environment, self.request, self._say
        )
        made = dataclasses.replace(made, stale=tuple(stale))
        self.store.put("routes", self.key(), self.document(made), group=self.known.fingerprint)
        return made

    def stored(self) -> tuple[Route | None, list[str]]:
        """The stored decision, and what has changed since."""
        document = self.store.get("routes", self.key())
        if document is None or document.get("pending"):
            return None, []
        try:
            found = Route.of(document["route"])
        except (KeyError, TypeError, ValueError):
            return None, []  # another HAL's
        if found.stamp == self.environment.stamp:
            return found, []
        devices = [row.candidate.device for row in found.rows]
        facts = facts_of(self.registry, devices, self.environment)
        changed = changes(found.facts, facts)
        if not changed:  # something that the decision does not depend on
            found = dataclasses.replace(found, stamp=self.environment.stamp)
            self.store.put("routes", self.key(), self.document(found), group=found.model)
        return found, changed

    def key(self, sizes: Mapping[str, int] | None = None) -> str:
        """The key of the decision, for open dimensions of these sizes (default: the request's)."""
        request = self.request
        if sizes is None:
            given = request.inputs
            infos = self.known.signature.inputs
            sizes = request.sizes if given is None else sizes_of(infos, given)
        parts = [
            self.known.fingerprint,
            bucket(sizes),
            str(request.policy),
            request.accuracy,
            sorted(request.devices),
            request.allow_emulated,
        ]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]

    def of_sizes(self, sizes: Mapping[str, int]) -> Router:
        """The router of the same request for open dimensions of other sizes."""
        request = dataclasses.replace(self.request, inputs=None, sizes=dict(sizes))
        return Router(self.store, self.known, request, self._say, parent=self)

    def document(self, route: Route) -> dict[str, Any]:
        return {"name": self.known.name, "route": route.document()}

    def others(self) -> Iterator[Router]:
        """The routers of the other sizes of this model that have arrived, decided or not."""
        for row in self.store.rows("routes", self.known.fingerprint):
            with contextlib.suppress(KeyError, TypeError, ValueError):
                document = row.document
                sizes = (document if document.get("pending") else document["route"])["sizes"]
                if row.key != self.key() and row.key == self.key(sizes):
                    yield self.of_sizes(sizes)

    def close(self) -> None:
        if self._registry is not None:
            self._registry.close()


def pending_document(name: str, sizes: Mapping[str, int]) -> dict[str, Any]:
    """What says that inputs of these sizes have arrived, and have no decision of their own yet."""
    return {"name": name, "pending": True, "sizes": dict(sizes)}


@dataclasses.dataclass(frozen=True)
class Stored:
    """A decision in the store, None for sizes that wait for one; `name` is that of the model's
    file, "" for a model that came as bytes; `time` in seconds since 1970."""

    key: str
    name: str
    fingerprint: str
    sizes: Mapping[str, int]
    time: float
    route: Route | None


def stored_routes(store: Store) -> list[Stored]:
    """Every decision that the store keeps, the oldest first."""
    found = []
    for row in store.rows("routes"):
        document = row.document
        with contextlib.suppress(KeyError, TypeError, ValueError, AttributeError):
            route = None if document.get("pending") else Route.of(document["route"])
            sizes = dict(document["sizes"] if route is None else route.sizes)
            name = str(document.get("name", ""))
            found.append(Stored(row.key, name, row.group, sizes, row.time, route))
    return found


def clear_routes(store: Store, chosen: Iterable[Stored] | None) -> None:
    """Forget these decisions; with None all, and what was measured for them. Raises OutputError."""
    if chosen is None:
        store.delete("routes")
        store.delete("measurements")
        clear_variants(store)
        return
    for stored in chosen:
        store.delete("routes", key=stored.key)
