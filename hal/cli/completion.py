"""Shell completion of values. Nothing here imports a plugin or probes a backend."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

import hal
from hal.device import Device
from hal.paths import cache_dir

__all__ = ["complete_backend", "complete_device", "complete_profile", "remember_devices"]


def remember_devices(devices: Iterable[Device]) -> None:
    """Keep the ids for `complete_device`. A folder that cannot be written costs only that."""
    path = _path()
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        # Moved into place whole: a shell may read it at this moment.
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(sorted(device.id for device in devices), file)
        Path(name).replace(path)


def complete_device(incomplete: str) -> list[str]:
    """The device ids that the last `hal devices` found."""
    return [i for i in _remembered() if i.startswith(incomplete)]


def complete_backend(incomplete: str) -> list[str]:
    """The backends that the last `hal devices` found ready."""
    names = dict.fromkeys(i.partition(":")[0] for i in _remembered())
    return [name for name in names if name.startswith(incomplete)]


def complete_profile(incomplete: str) -> list[str]:
    """The names of the contract's profiles."""
    folder = Path(hal.__file__).parent / "contract" / "profiles"
    return [p.stem for p in sorted(folder.glob("*.toml")) if p.stem.startswith(incomplete)]


def _path() -> Path:
    return cache_dir() / "devices" / "last.json"


def _remembered() -> list[str]:
    try:
        ids = json.loads(_path().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [i for i in ids if isinstance(i, str)] if isinstance(ids, list) else []
