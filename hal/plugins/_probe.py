"""Probing: what state a backend is in, and which devices it lists."""

from __future__ import annotations

import importlib.metadata
from typing import TYPE_CHECKING

from hal.device import Device
from hal.elsewhere import read_record
from hal.errors import (
    AbsentError,
    DeadlineError,
    HalError,
    HostError,
    UnavailableError,
)
from hal.plugins._status import BackendStatus, RegisteredBackend, State

if TYPE_CHECKING:
    from hal.host import Host

__all__ = ["missing", "probe_host"]


def missing(backend: RegisteredBackend) -> BackendStatus | None:
    """ABSENT if a distribution that the backend requires is not installed, else None. What lives
    elsewhere says so itself."""
    if backend.command:
        return None
    absent = [name for name in backend.spec.requires if not _installed(name)]
    if not absent:
        return None
    reason = f"{' and '.join(absent)} not installed"
    environment = backend.spec.environment
    if environment is not None:
        reason += "; it needs an environment of its own"
        if read_record(environment.name) is not None:
            reason += ", and the one that is there was built from another lock file"
        step = f"hal env create {environment.name}"
        return BackendStatus(backend.name, State.ABSENT, reason=reason, next_step=step)
    return BackendStatus(
        backend.name,
        State.ABSENT,
        reason=reason,
        next_step=backend.spec.install or f"pip install {' '.join(absent)}",
    )


def probe_host(backend: RegisteredBackend, host: Host, timeout: float, keep: bool) -> BackendStatus:
    """Ask the backend for its devices in its host, within `timeout` seconds.

    The host is closed unless the backend is ready and `keep` is true. Raises nothing of what the
    backend does.
    """
    usual, host.timeout = host.timeout, timeout  # the host's own limit holds for its start too
    status = _probe(backend, host, timeout)
    host.timeout = usual
    if not keep or status.state is not State.READY:
        host.close()
    return status


def _probe(backend: RegisteredBackend, host: Host, timeout: float) -> BackendStatus:
    name, doctor = backend.name, f"hal doctor {backend.name}"
    try:
        devices = host.devices(timeout=timeout)
    except AbsentError as error:
        step = error.next_step or backend.spec.install or doctor
        return _failed(name, State.ABSENT, str(error), step, error)
    except UnavailableError as error:
        step = error.next_step or doctor
        return _failed(name, State.UNAVAILABLE, str(error), step, error)
    except DeadlineError as error:
        reason = f"the device list did not answer in {timeout:g} s"
        return _failed(name, State.BROKEN, reason, doctor, error)
    except HostError as error:
        reason = f"listing its devices: {error}"
        return _failed(name, State.BROKEN, reason, error.next_step or doctor, error)
    except HalError as error:
        return _failed(name, State.BROKEN, str(error), error.next_step or doctor, error)
    reason = _wrong(name, devices)
    if reason:
        return BackendStatus(name, State.BROKEN, reason=reason, next_step="see docs/hooks.md")
    if not devices:
        return BackendStatus(name, State.UNAVAILABLE, reason="it lists no device", next_step=doctor)
    if all(device.unavailable for device in devices):
        reason = "; ".join(f"{device.id}: {device.unavailable}" for device in devices)
        return BackendStatus(name, State.UNAVAILABLE, devices, reason=reason, next_step=doctor)
    return BackendStatus(name, State.READY, devices)


def _failed(name: str, state: State, reason: str, next_step: str, error: HalError) -> BackendStatus:
    return BackendStatus(name, state, reason=reason, next_step=next_step, traceback=error.traceback)


def _wrong(name: str, devices: tuple[Device, ...]) -> str:
    """What is wrong with a device list, by id; "" if nothing.

    An id begins with its backend's name, so that ids of two backends never meet.
    """
    seen: set[str] = set()
    for device in devices:
        if device.backend != name:
            return f"it lists device {device.id!r}, whose id belongs to backend {device.backend!r}"
        if device.id in seen:
            return f"it lists device {device.id!r} twice"
        seen.add(device.id)
    return ""


def _installed(distribution: str) -> bool:
    try:
        importlib.metadata.distribution(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
