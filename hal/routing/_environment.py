"""What a decision depends on beside the model: this machine, its drivers, and what is installed."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path

from hal.paths import data_dir

__all__ = ["Environment", "changes", "machine", "packages"]

_DRIVERS = ("nvidia", "amdgpu", "i915", "xe", "intel_vpu", "habanalabs", "qaic", "rknpu")
"""Kernel modules whose version is a driver's."""
_DEVICES = ("nvidia", "dri", "accel", "kfd", "davinci", "mlu", "habanalabs")
"""What accelerators are called under /dev."""


def machine() -> dict[str, str]:
    """The hardware and its drivers, from what the kernel tells without a runtime: milliseconds."""
    found = {
        "machine": platform.machine(),
        "system": sys.platform,
        "cores": str(_cores()),
        "cpu": _processor(),
    }
    nodes = _named("/dev", _DEVICES)
    if nodes:
        found["accelerators"] = " ".join(nodes)
        found["kernel"] = platform.release()  # in-tree drivers have no version of their own
    for name in _DRIVERS:
        version = _text(Path("/sys/module") / name / "version")
        if version:
            found[f"driver {name}"] = version
    return found


def packages() -> dict[str, str]:
    """The installed distributions with their versions, by the folders that say so. What a package
    brings for itself is not installed: setuptools, once imported, adds its own to sys.path."""
    found: dict[str, str] = {}
    for place in sys.path:
        if place and (Path(place).parent / "__init__.py").exists():
            continue
        for name in _names(place or "."):
            if name.endswith((".dist-info", ".egg-info")):
                distribution, _, version = name.rpartition(".")[0].partition("-")
                found.setdefault(distribution.replace("_", "-").lower(), version)
    return found


class Environment:
    """This machine and what is installed; `stamp` changes with any of it."""

    def __init__(self) -> None:
        self.machine = machine()
        self.packages = packages()
        elsewhere = _elsewhere()
        text = json.dumps([self.machine, sorted(self.packages.items()), elsewhere])
        self.stamp = hashlib.sha256(text.encode()).hexdigest()[:32]

    def facts(self, distributions: tuple[str, ...]) -> dict[str, str]:
        """What a decision over these distributions depends on, by name."""
        versions = {
            name: self.packages.get(name.replace("_", "-").lower(), "")
            for name in sorted(distributions)
        }
        return {**self.machine, **{f"package {n}": v for n, v in versions.items()}}


def changes(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """What differs between the facts of a decision and today's, in words."""
    found = []
    for name in sorted({*before, *now}):
        old, new = before.get(name, ""), now.get(name, "")
        if old == new:
            continue
        what = name.removeprefix("package ")
        if not old:
            found.append(f"{what} {new} is new")
        elif not new:
            found.append(f"{what} {old} is gone")
        else:
            found.append(f"{what} was {old} and is {new}")
    return found


def _elsewhere() -> list[str]:
    """The environments and machines that backends were put in, with when."""
    found = []
    for kind in ("environments", "remotes"):
        folder = data_dir() / kind
        for name in _names(str(folder)):
            try:
                found.append(f"{kind}/{name} {(folder / name).stat().st_mtime_ns}")
            except OSError:
                continue
    return sorted(found)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _processor() -> str:
    for line in _text(Path("/proc/cpuinfo"), 4096).splitlines():
        if line.startswith(("model name", "Hardware")):
            return line.partition(":")[2].strip()
    return platform.processor()


def _named(folder: str, prefixes: tuple[str, ...]) -> list[str]:
    return sorted(name for name in _names(folder) if name.startswith(prefixes))


def _names(folder: str) -> list[str]:
    try:
        return [entry.name for entry in os.scandir(folder)]
    except OSError:
        return []


def _text(path: Path, size: int = 256) -> str:
    try:
        with path.open("r", encoding="utf-8", errors="replace") as file:
            return file.read(size).strip()
    except OSError:
        return ""
