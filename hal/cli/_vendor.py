"""What `hal doctor` says of vendors: of all in a row each, and of one in detail."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from rich.console import Console

from hal.cli._diagnosis import Problem
from hal.cli._output import table
from hal.device import Device
from hal.plugins import BackendStatus, Registry
from hal.vendors import Finding, Route, Vendor, inspect, vendors

__all__ = ["VendorReport", "overview", "report_of"]


@dataclasses.dataclass(frozen=True)
class VendorReport:
    """What of a vendor's needs is here, and which of its devices HAL lists. `devices` holds those
    that cannot be used too, with their reason; `backends` are what was asked for them."""

    vendor: Vendor
    findings: tuple[Finding, ...]
    devices: tuple[Device, ...] = ()
    backends: tuple[BackendStatus, ...] = ()

    @property
    def nearest(self) -> tuple[Finding, ...]:
        """What is missing for the route that lacks least; nothing when a route has all."""
        common = [f for f in self.findings if not f.devices and not f.found]
        routes = dict.fromkeys(route.devices for route in self.vendor.routes)
        missing: list[list[Finding]] = [
            [*common, *(f for f in self.findings if f.devices == route and not f.found)]
            for route in routes
        ]
        return tuple(sorted(missing, key=len)[0])

    @property
    def problems(self) -> list[Problem]:
        """Why no device of the vendor can be used; empty when one can."""
        name = self.vendor.name
        if any(not device.unavailable for device in self.devices):
            return []
        if not any(route.plugin for route in self.vendor.routes):
            step = "see docs/vendors.md, or write one: docs/writing-a-backend.md"
            return [Problem("vendors", f"{name}: HAL has no plugin for it yet", step)]
        missing = self.nearest
        if missing:
            return [Problem("vendors", f"{name}: {f.what} is missing", f.step) for f in missing]
        said = [f"{d.id}: {d.unavailable}" for d in self.devices]
        silent = [s for s in self.backends if not s.devices and s.reason]
        if silent and not said:
            return [Problem("vendors", f"{name}: {s.reason}", s.next_step) for s in silent]
        reason = "; ".join(said) or "all that it needs is here, and no backend lists its device"
        return [Problem("vendors", f"{name}: {reason}", "hal devices")]

    def document(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "name": self.vendor.name,
            "title": self.vendor.title,
            "routes": [
                {
                    "devices": r.devices,
                    "plugin": r.plugin,
                    "verified": r.verified.value,
                    "note": r.note,
                }
                for r in self.vendor.routes
            ],
            "findings": [dataclasses.asdict(f) for f in self.findings],
            "devices": [{"id": d.id, "unavailable": d.unavailable} for d in self.devices],
        }

    def print(self, out: Console) -> None:
        """A table of the routes, and one of what each needs."""
        out.print(
            table(
                ("device under HAL", "plugin", "verified", "note"),
                [
                    (r.devices or "none yet", r.plugin or "none yet", r.verified.value, r.note)
                    for r in self.vendor.routes
                ],
                title=self.vendor.title,
            )
        )
        out.print(
            table(
                ("for", "needs", "found", "next"),
                [
                    (
                        f.devices or "every device",
                        f.what,
                        f.found or "missing",
                        "" if f.found else f.step,
                    )
                    for f in self.findings
                ],
            )
        )
        for device in self.devices:
            state = f"unavailable: {device.unavailable}" if device.unavailable else device.name
            out.print(f"device: {device.id} {state}".rstrip())


def overview() -> list[tuple[str, str, str, str]]:
    """A row a vendor: what to ask for, its title, what is missing here, how far it is verified."""
    return [_row(VendorReport(vendor, inspect(vendor))) for vendor in vendors()]


def report_of(registry: Registry, vendor: Vendor, timeout: float) -> VendorReport:
    """Look for what a vendor's routes need, and ask the backends that serve them for devices."""
    backends = [b for r in vendor.routes if (b := _backend(r)) in registry.backends]
    statuses = tuple(registry.probe(dict.fromkeys(backends), timeout=timeout).values())
    devices = [
        device
        for status in statuses
        for device in status.devices
        if any(_serves(route, device) for route in vendor.routes)
    ]
    return VendorReport(vendor, inspect(vendor), tuple(devices), statuses)


def _row(report: VendorReport) -> tuple[str, str, str, str]:
    vendor = report.vendor
    missing = ", ".join(dict.fromkeys(f.what for f in report.nearest))
    if not any(route.plugin for route in vendor.routes):
        missing = "a plugin"
    order = list(type(vendor.routes[0].verified))
    best = min((route.verified for route in vendor.routes), key=order.index)
    return (vendor.name, vendor.title, missing or "nothing", best.value)


def _backend(route: Route) -> str:
    return route.devices.partition(":")[0]


def _serves(route: Route, device: Device) -> bool:
    wanted: Sequence[str] = route.devices.removesuffix(":N").split(":")
    return bool(route.devices) and device.id.split(":")[: len(wanted)] == list(wanted)
