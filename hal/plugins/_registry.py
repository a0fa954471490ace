"""The installed plugins and backends, the state of each, and the way to a backend."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from hal.backend import Backend
from hal.device import Device, backend_of
from hal.errors import (
    AbsentError,
    BackendError,
    BrokenError,
    HalError,
    UnavailableError,
    UsageError,
    did_you_mean,
)
from hal.plugins._probe import missing, probe_host
from hal.plugins._status import (
    BackendStatus,
    PluginStatus,
    RegisteredBackend,
    RegisteredPolicy,
    RegisteredSuite,
    State,
)

if TYPE_CHECKING:
    from hal.host import Host

__all__ = ["Registry"]

_ERRORS: dict[State, type[BackendError]] = {
    State.ABSENT: AbsentError,
    State.UNAVAILABLE: UnavailableError,
    State.BROKEN: BrokenError,
}


class Registry:
    """What `load_plugins` found. Probing is lazy, and remembered for the registry's life.

    Not thread-safe. As a context manager it closes the hosts that it still keeps.
    """

    def __init__(
        self,
        plugins: tuple[PluginStatus, ...],
        backends: Mapping[str, RegisteredBackend],
        suites: Mapping[str, RegisteredSuite] = MappingProxyType({}),
        policies: Mapping[str, RegisteredPolicy] = MappingProxyType({}),
    ) -> None:
        self.plugins = plugins
        self.backends: Mapping[str, RegisteredBackend] = MappingProxyType(
            dict(sorted(backends.items()))
        )
        self.suites: Mapping[str, RegisteredSuite] = MappingProxyType(dict(sorted(suites.items())))
        self.policies: Mapping[str, RegisteredPolicy] = MappingProxyType(
            dict(sorted(policies.items()))
        )
        self._statuses: dict[str, BackendStatus] = {}
        self._idle: dict[str, Host] = {}
        self._in_process: dict[str, Backend] = {}

    def probe(
        self,
        names: Iterable[str] | None = None,
        *,
        timeout: float = 30.0,
        keep: bool = False,
        refresh: bool = False,
    ) -> dict[str, BackendStatus]:
        """The state and devices of the named backends (default: all), each asked once.

        Every backend is asked in a host process of its own, several at a time; `timeout` is in
        seconds, for starting a backend and again for its list. `keep` leaves the hosts running
        for `host` to hand out. `refresh` asks again, in new ones. Raises UsageError for a name
        that no plugin provides, and nothing for a backend that fails.
        """
        names = list(self.backends) if names is None else [self.registered(n).name for n in names]
        asked = [n for n in dict.fromkeys(names) if refresh or n not in self._statuses]
        if asked:
            self._ask(asked, timeout, keep)
        return {name: self._statuses[name] for name in names}

    def find_device(self, device_id: str, *, timeout: float = 30.0) -> Device:
        """The device of that id; only its own backend is probed, and its host is kept for `host`.

        Raises UsageError for an unknown backend or device, with a suggestion and what exists;
        AbsentError, UnavailableError or BrokenError for a backend that is not ready, and
        UnavailableError for a device that is listed as such.
        """
        name = backend_of(device_id)
        if name not in self.backends:
            raise self._unknown(device_id, name)
        status = self.probe([name], timeout=timeout, keep=True)[name]
        if status.state is not State.READY:
            raise error_of(status)
        for device in status.devices:
            if device.id == device_id:
                if device.unavailable:
                    raise UnavailableError(
                        f"{device_id} is unavailable: {device.unavailable}",
                        next_step=f"hal doctor {name}",
                    )
                return device
        ids = [device.id for device in status.devices]
        raise UsageError(
            f"{name} has no device {device_id!r}.{did_you_mean(device_id, ids)}"
            f" It has {', '.join(ids)}.",
            next_step="hal devices",
        )

    def host(self, name: str, **limits: Any) -> Host:
        """A host process that serves the named backend; the caller closes it.

        `limits` are those of `hal.host.Host` (timeout, memory, env, command, shared_memory).
        A host that a probe kept is handed out where they allow. A backend that lives elsewhere is
        started there. Raises UsageError for an unknown backend.
        """
        backend = self.registered(name)
        if name in self._idle and limits.keys() <= {"timeout", "memory"}:
            host = self._idle.pop(name)
            host.timeout = limits.get("timeout", host.timeout)
            host.memory = limits.get("memory", host.memory)
            return host
        from hal.host import Host

        if backend.command:
            limits.setdefault("command", backend.command)
        return Host(backend.module, name.rpartition("/")[2], remote=backend.remote, **limits)

    def keep(self, name: str, host: Host) -> None:
        """Take a host back that is not needed any more, for `host` to hand out again."""
        if name in self._idle:
            host.close()
        else:
            self._idle[name] = host

    def backend(self, name: str) -> Backend:
        """The named backend in this process; its factory is called once.

        Raises UsageError for an unknown backend, AbsentError when a distribution that it
        requires is not installed, UnavailableError when it lives elsewhere, and BrokenError for
        whatever the factory raises that is no HalError.
        """
        registered = self.registered(name)
        if registered.command:
            raise UnavailableError(
                f"{name} cannot be used in this process: it lives in {registered.home}",
                next_step=f"use it through a host process: Registry.host({name!r})",
            )
        if name not in self._in_process:
            absent = missing(registered)
            if absent is not None:
                raise error_of(absent)
            try:
                self._in_process[name] = registered.spec.factory()
            except HalError:
                raise
            except Exception as error:
                raise BrokenError(
                    f"{name} cannot be made: {type(error).__name__}: {error}",
                    traceback=traceback.format_exc(),
                    next_step=f"hal doctor {name}",
                ) from error
        return self._in_process[name]

    def close(self) -> None:
        """Close the hosts that probes kept and nobody took."""
        while self._idle:
            self._idle.popitem()[1].close()

    def __enter__(self) -> Registry:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _ask(self, names: list[str], timeout: float, keep: bool) -> None:
        hosted = []
        for name in names:
            absent = missing(self.backends[name])
            if absent is None:
                hosted.append(name)
            else:
                self._statuses[name] = absent
        if not hosted:
            return
        for name in self._idle.keys() & set(hosted):
            self._idle.pop(name).close()
        hosts = {name: self.host(name) for name in hosted}
        with ThreadPoolExecutor(min(len(hosted), max(2, os.cpu_count() or 2))) as pool:
            try:
                statuses = pool.map(
                    lambda name: probe_host(self.backends[name], hosts[name], timeout, keep), hosted
                )
                self._statuses.update((status.name, status) for status in statuses)
            except BaseException:
                # Ctrl-C: the pool waits for its threads, which wait for hosts that may hang.
                for host in hosts.values():
                    host.close()
                raise
        for name in hosted:
            if keep and self._statuses[name].state is State.READY:
                self._idle[name] = hosts[name]

    def registered(self, name: str) -> RegisteredBackend:
        """The backend of that name. Raises UsageError, with a suggestion, for an unknown one."""
        try:
            return self.backends[name]
        except KeyError:
            raise self._unknown(name, name) from None

    def _unknown(self, asked: str, name: str) -> UsageError:
        broken = [p.name for p in self.plugins if p.state is State.BROKEN]
        known = ", ".join(self.backends) or "none is installed"
        message = f"no backend named {name!r}"
        if asked != name:
            message += f" (in {asked!r})"
        message += f".{did_you_mean(name, self.backends)} Backends: {known}."
        if broken:
            message += f" Broken plugins: {', '.join(broken)}."
        return UsageError(message, next_step="hal plugins" if broken else "hal devices")


def error_of(status: BackendStatus) -> BackendError:
    """The error that says of a backend that is not ready what its status says."""
    message = f"{status.name} is {status.state.value}: {status.reason}"
    error = _ERRORS[status.state](message, next_step=status.next_step)
    error.traceback = status.traceback
    return error
