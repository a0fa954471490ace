"""Where a backend lives: in this interpreter, in its environment if that is created, or on another
machine."""

from __future__ import annotations

import dataclasses
from typing import NoReturn

from hal.backend import Ability, BackendSpec
from hal.elsewhere import host_command, is_current
from hal.elsewhere.remotes import Remote, read_remotes
from hal.errors import UnavailableError
from hal.plugins._status import RegisteredBackend

__all__ = ["housed", "remote_backends"]

_ABROAD = frozenset({Ability.PLACEMENT, Ability.CLOSE})
"""The abilities that a host has as well; the others are for the process that compiled."""


def housed(backend: RegisteredBackend) -> RegisteredBackend:
    """The backend with the command of the environment that it asks for, if there is one."""
    environment = backend.spec.environment
    if environment is None or not is_current(environment, backend.module):
        return backend
    home = f"the environment {environment.name!r}"
    return dataclasses.replace(backend, command=host_command(environment.name), home=home)


def remote_backends() -> dict[str, RegisteredBackend]:
    """The backends of other machines, by name ("board/ort"). A remote whose file cannot be read has
    none; `hal remote list` tells it."""
    found = {}
    for remote in read_remotes().values():
        if not isinstance(remote, Remote):
            continue
        for there in remote.backends:
            spec = BackendSpec(
                name=f"{remote.name}/{there.name}",
                factory=_elsewhere,
                summary=there.summary,
                abilities=frozenset(a for a in _ABROAD if a.value in there.abilities),
                conformance_options=there.conformance_options,
            )
            found[spec.name] = RegisteredBackend(
                spec,
                there.module,
                there.distribution,
                there.version,
                command=remote.host_command(there),
                home=f"the machine {remote.name!r}",
                remote=remote.name,
            )
    return found


def _elsewhere() -> NoReturn:
    raise UnavailableError("it is on another machine")
