"""What of a vendor's needs is on this machine, without starting any of it."""

from __future__ import annotations

import ctypes.util
import dataclasses
import glob
import importlib.metadata
import os
import shutil
from pathlib import Path

from hal.elsewhere import read_record
from hal.vendors._table import Need, Route, Vendor

__all__ = ["Finding", "inspect"]


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that a vendor's devices need. `devices` is the route that needs it, "" for all of
    them; `found` is what was found ("/dev/kfd", "torch-npu 2.14.0"), "" if it is missing."""

    devices: str
    what: str
    found: str
    step: str


def inspect(vendor: Vendor) -> tuple[Finding, ...]:
    """Everything that the vendor's routes need, in the order in which to install it: drivers,
    then, a route at a time, its own libraries, its packages, HAL's plugin and its environment."""
    findings = [_need("", need) for need in vendor.needs]
    for route in vendor.routes:
        findings += [_need(route.devices, need) for need in route.needs]
        findings += [_distribution(route, name) for name in route.packages]
        if route.plugin:
            findings.append(_distribution(route, route.plugin))
        if route.environment:
            findings.append(_environment(route, route.environment))
    return tuple(findings)


def _need(devices: str, need: Need) -> Finding:
    return Finding(devices, need.what, _found(need), need.step)


def _found(need: Need) -> str:
    for pattern in need.paths:
        paths = sorted(glob.glob(pattern))  # noqa: PTH207 (an absolute pattern)
        if paths:
            return paths[0]
    for command in need.commands:
        path = shutil.which(command)
        if path:
            return path
    for library in need.libraries:
        path = _library(library)
        if path:
            return path
    return ""


def _library(name: str) -> str:
    # find_library asks the linker's cache, which knows nothing of LD_LIBRARY_PATH.
    for folder in os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep):
        paths = sorted(Path(folder).glob(f"lib{name}.so*")) if folder else []
        if paths:
            return str(paths[0])
    return ctypes.util.find_library(name) or ""


def _distribution(route: Route, name: str) -> Finding:
    try:
        found = f"{name} {importlib.metadata.version(name)}"
    except importlib.metadata.PackageNotFoundError:
        found = ""
    return Finding(route.devices, name, found, route.install)


def _environment(route: Route, name: str) -> Finding:
    record = read_record(name)
    found = f"made with Python {record.python}" if record else ""
    return Finding(route.devices, f"environment {name}", found, f"hal env create {name}")
