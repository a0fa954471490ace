"""`hal doctor`: what is installed, what clashes, and what to do about it."""

from __future__ import annotations

import dataclasses
import platform
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from hal.cli import _diagnosis
from hal.cli._output import console, stderr_console, table, write_json
from hal.cli._vendor import VendorReport, overview, report_of
from hal.cli.completion import complete_backend
from hal.device import backend_of
from hal.errors import UsageError, did_you_mean
from hal.plugins import BackendStatus, PluginStatus, Registry, load_plugins
from hal.vendors import Vendor, find_vendor, vendors

__all__ = ["doctor"]


def doctor(
    name: Annotated[
        str | None,
        typer.Argument(
            help="A backend, a device id, a plugin, its distribution or a vendor; without it, "
            "everything.",
            autocompletion=complete_backend,
        ),
    ] = None,
    timeout: Annotated[
        float, typer.Option(min=0.1, help="Seconds that each backend has to answer.")
    ] = 30.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON (hal.doctor/1).")] = False,
) -> None:
    """Show what is installed, find what clashes, and say how to mend it.

    With NAME, look at one backend, which then has to be ready, or at what a vendor's devices need
    and what of it is missing here. Exits with 1 if there is a problem.

    Examples:

      hal doctor

      hal doctor ort

      hal doctor ascend
    """
    with load_plugins() as registry:
        vendor = _vendor_named(registry, name)
        if vendor is not None:
            with stderr_console().status("asking the backends for their devices"):
                report = report_of(registry, vendor, timeout)
            _finish_vendor(report, as_json=as_json)
            return
        plugins, backends = _chosen(registry, name)
        with stderr_console().status("asking the backends for their devices"):
            statuses = list(registry.probe(backends, timeout=timeout).values())
        problems = [
            *_diagnosis.check_onnxruntime_wheels(),
            *_diagnosis.check_requirements(_diagnosis.required(registry, backends)),
            *_diagnosis.check_torch_autoload(),
            *_diagnosis.check_folders(),
            *_diagnosis.check_states(plugins, statuses, wanted=name is not None),
        ]
        if as_json:
            write_json("hal.doctor/1", _document(plugins, statuses, problems))
        else:
            _print(registry, plugins, statuses, problems, details=name is not None)
    if problems:
        raise typer.Exit(1)


def _vendor_named(registry: Registry, name: str | None) -> Vendor | None:
    """The vendor of that name, if no backend or plugin has it."""
    if name is None or backend_of(name) in registry.backends:
        return None
    if any(name in (p.name, p.distribution, p.module) for p in registry.plugins):
        return None
    return find_vendor(name)


def _finish_vendor(report: VendorReport, *, as_json: bool) -> None:
    problems = report.problems
    if as_json:
        write_json(
            "hal.doctor/1",
            {
                "ok": not problems,
                "vendor": report.document(),
                "problems": [dataclasses.asdict(p) for p in problems],
            },
        )
    else:
        report.print(console())
        _print_problems(problems)
    if problems:
        raise typer.Exit(1)


def _chosen(registry: Registry, name: str | None) -> tuple[list[PluginStatus], list[str]]:
    """The plugins and the names of the backends that `name` is about."""
    if name is None:
        return list(registry.plugins), list(registry.backends)
    backend = backend_of(name)
    if backend in registry.backends:
        return [p for p in registry.plugins if backend in p.backends], [backend]
    plugins = [p for p in registry.plugins if name in (p.name, p.distribution, p.module)]
    if not plugins:
        known = {
            *registry.backends,
            *(v.name for v in vendors()),
            *(n for p in registry.plugins for n in (p.name, p.distribution)),
        }
        raise UsageError(
            f"there is no backend, plugin or vendor {name!r}.{did_you_mean(name, known)}"
            f" Known: {', '.join(sorted(known)) or 'none'}.",
            next_step="hal plugins",
        )
    return plugins, [b for p in plugins for b in p.backends]


def _document(
    plugins: Sequence[PluginStatus],
    statuses: Sequence[BackendStatus],
    problems: Sequence[_diagnosis.Problem],
) -> dict[str, Any]:
    return {
        "ok": not problems,
        "python": {"version": platform.python_version(), "executable": sys.executable},
        "platform": platform.platform(),
        "packages": _diagnosis.versions(),
        "plugins": [dataclasses.asdict(p) for p in plugins],
        "backends": [
            {
                "name": s.name,
                "state": s.state.value,
                "reason": s.reason,
                "next_step": s.next_step,
                "traceback": s.traceback,
                "devices": [d.id for d in s.devices],
            }
            for s in statuses
        ],
        "vendors": [
            dict(zip(("name", "title", "missing", "verified"), row, strict=True))
            for row in overview()
        ],
        "problems": [dataclasses.asdict(p) for p in problems],
    }


def _print(
    registry: Registry,
    plugins: Sequence[PluginStatus],
    statuses: Sequence[BackendStatus],
    problems: Sequence[_diagnosis.Problem],
    *,
    details: bool,
) -> None:
    out = console()
    out.print(f"Python {platform.python_version()} ({sys.executable})")
    out.print(platform.platform())
    out.print(table(("package", "version"), _diagnosis.versions().items()))
    if statuses:
        out.print(
            table(
                ("backend", "state", "devices or reason", "next"),
                (
                    (
                        s.name,
                        s.state.value,
                        ", ".join(d.id for d in s.devices) or s.reason,
                        s.next_step,
                    )
                    for s in statuses
                ),
            )
        )
    if details:
        for status in statuses:
            _print_details(registry, status)
        tracebacks = [*(p.traceback for p in plugins), *(s.traceback for s in statuses)]
        for text in filter(None, tracebacks):
            out.print(text.rstrip())
    else:
        columns = ("vendor", "hardware", "missing here", "verified")
        out.print(table(columns, overview(), title="vendors (hal doctor VENDOR says what to do)"))
    _print_problems(problems)


def _print_problems(problems: Sequence[_diagnosis.Problem]) -> None:
    out = console()
    for problem in problems:
        out.print(f"problem: {problem.message}", style="red")
        if problem.next_step:
            out.print(f"  next: {problem.next_step}")
    if not problems:
        out.print("no problem found")


def _print_details(registry: Registry, status: BackendStatus) -> None:
    registered = registry.backends[status.name]
    spec, out = registered.spec, console()
    lines = {
        "summary": spec.summary,
        "provided by": f"{registered.distribution} {registered.version} ({registered.module})",
        "requires": ", ".join(spec.requires),
        "install": spec.install,
        "abilities": ", ".join(sorted(ability.value for ability in spec.abilities)),
    }
    for label, value in lines.items():
        if value:
            out.print(f"{label + ':':<13}{value}")
    for device in status.devices:
        facts = ", ".join(f"{k} {v}" for k, v in device.versions.items())
        lacks = device.unavailable and f"unavailable: {device.unavailable}"
        words = filter(None, (device.id, device.name, facts, lacks))
        out.print(f"{'device:':<13}{' '.join(words)}")
