"""Where a backend lives: in this interpreter, unless its environment is created."""

from __future__ import annotations

import dataclasses

from hal.elsewhere import host_command, is_current
from hal.plugins._status import RegisteredBackend

__all__ = ["housed"]


def housed(backend: RegisteredBackend) -> RegisteredBackend:
    """The backend with the command of the environment that it asks for, if there is one."""
    environment = backend.spec.environment
    if environment is None or not is_current(environment, backend.module):
        return backend
    home = f"the environment {environment.name!r}"
    return dataclasses.replace(backend, command=host_command(environment.name), home=home)
