"""What is known of a plugin and of a backend: one state each, with its reason."""

from __future__ import annotations

import dataclasses
import enum

from hal.backend import BackendSpec
from hal.device import Device
from hal.policy import PolicySpec
from hal.suite import SuiteSpec

__all__ = [
    "BackendStatus",
    "PluginStatus",
    "RegisteredBackend",
    "RegisteredPolicy",
    "RegisteredSuite",
    "State",
]


class State(str, enum.Enum):
    """The state of a backend; a plugin is READY or BROKEN."""

    ABSENT = "absent"
    """Its SDK is not installed."""
    UNAVAILABLE = "unavailable"
    """Installed, but it cannot start here."""
    BROKEN = "broken"
    """The plugin itself fails."""
    READY = "ready"


@dataclasses.dataclass(frozen=True)
class PluginStatus:
    """One entry point of the group `hal`. A broken plugin provides no backend at all.

    `name` is the entry point's name, `module` what it names. `hooks` are the hooks that the module
    implements, `backends` the names of the backends that it registered.
    """

    name: str
    module: str
    distribution: str
    version: str
    state: State
    hooks: tuple[str, ...] = ()
    backends: tuple[str, ...] = ()
    reason: str = ""
    next_step: str = ""
    traceback: str = ""


@dataclasses.dataclass(frozen=True)
class RegisteredBackend:
    """A backend that a plugin provides. Nothing of it has run yet.

    `command` starts a host where the backend lives, if that is not this interpreter; `home` says
    for people where that is. Such a backend is used through a host alone. `remote` names the
    machine that it is on, if that is not this one: its own name is then "<remote>/<name there>".
    """

    spec: BackendSpec
    module: str
    distribution: str
    version: str
    command: tuple[str, ...] = ()
    home: str = ""
    remote: str = ""

    @property
    def name(self) -> str:
        return self.spec.name


@dataclasses.dataclass(frozen=True)
class RegisteredSuite:
    """A conformance suite that a plugin provides. Nothing of it has run yet."""

    spec: SuiteSpec
    module: str
    distribution: str

    @property
    def name(self) -> str:
        return self.spec.name


@dataclasses.dataclass(frozen=True)
class RegisteredPolicy:
    """A routing policy that a plugin provides."""

    spec: PolicySpec
    module: str
    distribution: str

    @property
    def name(self) -> str:
        return self.spec.name


@dataclasses.dataclass(frozen=True)
class BackendStatus:
    """What a probe found. When the state is READY at least one of `devices` can be used; those that
    cannot say why (`Device.unavailable`). A state that is not READY has a `reason`."""

    name: str
    state: State
    devices: tuple[Device, ...] = ()
    reason: str = ""
    next_step: str = ""
    traceback: str = ""
