"""What answers a session's requests: a candidate's executable, in this process or in a host's."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from hal.arrays import BoundRun, check_feeds, run_by_values
from hal.backend import Ability, Backend, Executable
from hal.errors import ExecutionError, HalError, UnsupportedError
from hal.graph import Signature
from hal.model import Model
from hal.placement import Placement
from hal.plugins import Registry
from hal.routing._candidate import Candidate
from hal.tensor import Value

__all__ = ["Bound", "Engine", "HostedEngine", "LocalEngine", "Run", "open_engine"]

Run = Callable[["Sequence[str] | None", "Mapping[str, Any]"], "list[Any]"]
"""Outputs by name, all for None, of NumPy feeds by name."""


class Bound(Protocol):
    """Inputs in place: `run` goes over what their memory holds now."""

    names: Sequence[str]

    def run(self) -> Sequence[Any]: ...


class Engine(Protocol):
    """Answers the requests of a session. `run` may be called from several threads at once; it
    raises a HalError for whatever goes wrong."""

    @property
    def candidate(self) -> Candidate:
        """The candidate that answers."""
        ...

    def run(self, names: Sequence[str] | None, feeds: Mapping[str, Any], /) -> list[Any]: ...

    def placement(self) -> Placement:
        """Where the nodes run. Raises UnsupportedError where the backend does not tell."""
        ...

    def bind(self, feeds: Mapping[str, Any]) -> Bound:
        """The engine with its inputs in place."""
        ...

    def close(self) -> None:
        """Free what the engine holds. It is not run again."""
        ...


def bound_feeds(run: Run, signature: Signature, feeds: Mapping[str, Any]) -> Bound:
    """Inputs in place for an engine that cannot bind: its `run` is called over the same arrays."""
    check_feeds(signature, None, feeds)
    names = [info.name for info in signature.outputs]
    return BoundRun(names, functools.partial(run, None, dict(feeds)))


class LocalEngine:
    """An executable in this process."""

    def __init__(
        self,
        executable: Any,
        abilities: frozenset[Ability],
        signature: Signature,
        candidate: Candidate,
    ) -> None:
        self.candidate = candidate
        self._executable = executable
        self._abilities = abilities
        self._signature = signature
        self._lock = threading.Lock()
        run: Run = functools.partial(run_by_values, executable.run, signature)
        if Ability.NUMPY in abilities:
            run = executable.run_numpy
        self._unlocked = run
        self.run = run if Ability.THREAD_SAFE_RUN in abilities else self._locked

    def _locked(self, names: Sequence[str] | None, feeds: Mapping[str, Any]) -> list[Any]:
        with self._lock:
            return self._unlocked(names, feeds)

    def values(self, inputs: Mapping[str, Value]) -> Mapping[str, Value]:
        """Run once on values: the executable's own `run`."""
        with contextlib.nullcontext() if self.run is self._unlocked else self._lock:
            found: Mapping[str, Value] = self._executable.run(inputs)
        return found

    def placement(self) -> Placement:
        if Ability.PLACEMENT not in self._abilities:
            raise UnsupportedError(f"{self.candidate.device.backend} does not report placement")
        found: Placement = self._executable.placement()
        return found

    def bind(self, feeds: Mapping[str, Any]) -> Bound:
        if Ability.BIND in self._abilities:
            bound: Bound = self._executable.bind(feeds)
            return bound
        return bound_feeds(self.run, self._signature, feeds)

    def close(self) -> None:
        if Ability.CLOSE in self._abilities:
            self._executable.close()


class HostedEngine:
    """An executable in a host process, which the engine owns and which takes one call at a time."""

    def __init__(self, host: Any, executable: Any, signature: Signature, candidate: Candidate):
        self.candidate = candidate
        self.host = host
        self._executable = executable
        self._signature = signature
        self._lock = threading.Lock()

    def run(self, names: Sequence[str] | None, feeds: Mapping[str, Any]) -> list[Any]:
        with self._lock:
            return run_by_values(self._executable.run, self._signature, names, feeds, shared=False)

    def values(self, inputs: Mapping[str, Value]) -> Mapping[str, Value]:
        """Run once on values."""
        with self._lock:
            found: Mapping[str, Value] = self._executable.run(inputs)
        return found

    def placement(self) -> Placement:
        with self._lock:
            found: Placement = self._executable.placement()
        return found

    def bind(self, feeds: Mapping[str, Any]) -> Bound:
        return bound_feeds(self.run, self._signature, feeds)

    def close(self) -> None:
        with self._lock:
            self.host.close()


_backends: dict[tuple[str, str], Backend] = {}
_backends_lock = threading.Lock()


def local_backend(registry: Registry, name: str) -> Backend:
    """The named backend in this process, made once. Raises as `Registry.backend`."""
    key = registry.backends[name].module, name
    with _backends_lock:
        if key not in _backends:
            _backends[key] = registry.backend(name)
        return _backends[key]


def open_engine(
    registry: Registry,
    candidate: Candidate,
    model: Model,
    signature: Signature,
    *,
    hosted: bool = False,
    timeout: float = 600.0,
    deadline: float = 60.0,
) -> LocalEngine | HostedEngine:
    """Compile a model for a candidate: in this process, or in a process of its own that has
    `timeout` seconds for it and `deadline` seconds for each run, when `hosted` asks for one or the
    backend lives elsewhere. Raises a
    HalError, whatever the backend raises."""
    device = candidate.device
    name = device.backend
    registered = registry.registered(name)
    spec = registered.spec
    if hosted or registered.command:
        host = registry.host(name, timeout=deadline)
        try:
            compiled = host.compile(device, model, candidate.options, timeout=timeout)
        except BaseException:
            host.close()
            raise
        return HostedEngine(host, compiled, signature, candidate)
    backend = local_backend(registry, device.backend)
    try:
        executable: Executable = backend.compile(device, model, candidate.options)
    except HalError:
        raise
    except Exception as error:
        raise ExecutionError(
            f"{device.id} failed to compile the model: {type(error).__name__}: {error}",
            next_step=f"hal doctor {device.backend}",
        ) from error
    return LocalEngine(executable, spec.abilities, signature, candidate)
