"""Devices that a probe has listed before: named again, they need none."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any

from hal.device import Device, backend_of
from hal.errors import BrokenError, ProtocolError
from hal.host._codec import pack_device, unpack_device
from hal.plugins import Registry, load_backend, load_plugins
from hal.routing._environment import Environment
from hal.store import Store

__all__ = ["find", "recall", "remember"]


def find(store: Store, environment: Environment, device_id: str) -> tuple[Registry, Device]:
    """A device by its id, and a registry that has its backend; asked of the backend's host unless
    the store knows it in this very environment. Raises as `Registry.find_device`."""
    found = recall(store, environment, device_id)
    if found is not None:
        return found
    registry = load_plugins()
    try:
        device = registry.find_device(device_id)
    except BaseException:
        registry.close()
        raise
    remember(store, environment, registry, [device])
    return registry, device


def recall(
    store: Store, environment: Environment, device_id: str
) -> tuple[Registry, Device] | None:
    """The device as it was listed in this environment, and a registry of its backend alone. One of
    another machine is asked again each time: this environment says nothing of that machine."""
    known = None if "/" in device_id else store.get("devices", device_id)
    if known is None or known.get("stamp") != environment.stamp:
        return None
    with contextlib.suppress(BrokenError, ProtocolError, KeyError, TypeError):
        device = unpack_device(known["device"])
        registry = load_backend(
            backend_of(device_id),
            module=known["module"],
            distribution=known["distribution"],
            version=known["version"],
        )
        return registry, device
    return None


def remember(
    store: Store, environment: Environment, registry: Registry, devices: Iterable[Device]
) -> None:
    """Keep what usable devices a probe listed."""
    rows: list[tuple[str, dict[str, Any]]] = []
    for device in devices:
        backend = registry.backends[device.backend]
        document = {
            "device": pack_device(device),
            "module": backend.module,
            "distribution": backend.distribution,
            "version": backend.version,
            "stamp": environment.stamp,
        }
        rows.append((device.id, document))
    store.put_many("devices", rows)
