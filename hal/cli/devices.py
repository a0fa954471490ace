"""`hal devices`: what can be used now, and why the rest cannot."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Annotated, Any

import typer

from hal.cli._output import console, human_bytes, stderr_console, table, write_json
from hal.cli.completion import complete_backend, remember_devices
from hal.device import Device
from hal.plugins import BackendStatus, PluginStatus, Registry, State, load_plugins

__all__ = ["devices"]


def devices(
    backend: Annotated[
        list[str] | None,
        typer.Option(
            "--backend", "-b", help="Ask only this backend.", autocompletion=complete_backend
        ),
    ] = None,
    timeout: Annotated[
        float, typer.Option(min=0.1, help="Seconds that each backend has to answer.")
    ] = 30.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON (hal.devices/1).")] = False,
) -> None:
    """List the devices that can be used now and, below them, every backend that is not ready.

    Each backend is asked in a process of its own.

    Example: hal devices --backend ort
    """
    with load_plugins() as registry:
        with stderr_console().status("asking the backends for their devices"):
            statuses = registry.probe(backend or None, timeout=timeout)
        broken = [] if backend else [p for p in registry.plugins if p.state is State.BROKEN]
        if not backend:
            remember_devices(d for s in statuses.values() for d in s.devices if not d.unavailable)
        if as_json:
            write_json("hal.devices/1", _document(registry, statuses.values(), broken))
        else:
            _print(statuses.values(), broken)


def _document(
    registry: Registry, statuses: Iterable[BackendStatus], broken: Iterable[PluginStatus]
) -> dict[str, Any]:
    statuses = list(statuses)
    return {
        "devices": [_device(d) for s in statuses for d in s.devices],
        "backends": [
            {
                "name": s.name,
                "state": s.state.value,
                "reason": s.reason,
                "next_step": s.next_step,
                "traceback": s.traceback,
                "distribution": registry.backends[s.name].distribution,
                "version": registry.backends[s.name].version,
                "devices": [d.id for d in s.devices],
            }
            for s in statuses
        ],
        "broken_plugins": [
            {"name": p.name, "distribution": p.distribution, "reason": p.reason} for p in broken
        ],
    }


def _device(device: Device) -> dict[str, Any]:
    values = {f.name: getattr(device, f.name) for f in dataclasses.fields(device)}
    return {**values, "versions": dict(device.versions), "backend": device.backend}


def _print(statuses: Iterable[BackendStatus], broken: Iterable[PluginStatus]) -> None:
    statuses, out = list(statuses), console()
    listed = [d for s in statuses for d in s.devices]
    found = [d for d in listed if not d.unavailable]
    if found:
        out.print(
            table(
                ("id", "kind", "name", "vendor", "memory", "versions", "note"),
                ([*_row(device)] for device in found),
            )
        )
    else:
        out.print("No device is ready.")
    # A backend whose devices are all unavailable is told by its devices.
    waiting = [(s.name, s.state.value, s.reason, s.next_step) for s in statuses if not s.devices]
    waiting += [
        (d.id, "unavailable", d.unavailable, f"hal doctor {d.backend}")
        for d in listed
        if d.unavailable
    ]
    waiting += [(f"plugin {p.name}", p.state.value, p.reason, p.next_step) for p in broken]
    if waiting:
        out.print(table(("what", "state", "reason", "next"), waiting, title="Not ready"))
    if not statuses and not waiting:
        out.print("No plugin is installed. next: pip install hal-onnxruntime")


def _row(device: Device) -> Iterable[str]:
    yield from (device.id, device.kind, device.name, device.vendor)
    yield human_bytes(device.memory) if device.memory else ""
    yield ", ".join(f"{name} {version}" for name, version in device.versions.items())
    yield ", ".join((*device.marks, "slow") if device.slow else device.marks)
