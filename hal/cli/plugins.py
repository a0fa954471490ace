"""`hal plugins`: what is installed under the entry-point group `hal`, and its state."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from hal.cli._output import console, table, write_json
from hal.plugins import load_plugins

__all__ = ["plugins"]


def plugins(
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show the tracebacks of broken plugins.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON (hal.plugins/1).")] = False,
) -> None:
    """List the installed plugins: distribution, version, module, state, backends and hooks.

    Plugins are imported, but no backend is started; `hal devices` does that.

    Example: hal plugins -v
    """
    found = load_plugins().plugins
    if as_json:
        write_json("hal.plugins/1", {"plugins": [dataclasses.asdict(p) for p in found]})
        return
    out = console()
    if not found:
        out.print("No plugin is installed. next: pip install hal-onnxruntime")
        return
    columns = ("name", "distribution", "version", "module", "state", "backends", "hooks")
    out.print(
        table(
            columns,
            (
                (
                    p.name,
                    p.distribution,
                    p.version,
                    p.module,
                    p.state.value,
                    ", ".join(p.backends),
                    ", ".join(p.hooks),
                )
                for p in found
            ),
        )
    )
    for p in found:
        if p.reason:
            out.print(f"{p.name} is {p.state.value}: {p.reason}")
        if p.next_step:
            out.print(f"  next: {p.next_step}")
        if p.traceback:
            out.print(p.traceback if verbose else "  the traceback: hal plugins -v")
