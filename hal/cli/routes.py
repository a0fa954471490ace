"""`hal routes`: the decisions that the store keeps."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from hal.cli._output import console, table, write_json
from hal.errors import UsageError
from hal.routing._route import Stored, clear_routes, stored_routes
from hal.routing._table import duration
from hal.store import Store

__all__ = ["app", "clear", "show"]

app = typer.Typer(add_completion=False)


@app.callback(invoke_without_command=True)
def show(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON (hal.routes/1).")] = False,
) -> None:
    """List the decisions that are kept, and the shapes that wait for one.

    Examples: hal routes; hal routes clear resnet50.onnx --yes
    """
    if context.invoked_subcommand is not None:
        return
    with Store() as store:
        store.require()
        found = stored_routes(store)
    if as_json:
        write_json(
            "hal.routes/1", {"store": str(store.path), "routes": list(map(_document, found))}
        )
        return
    out = console()
    if not found:
        out.print(f"no decision is kept in {store.path}")
        return
    columns = ("model", "sizes", "policy", "accuracy", "best", "measured", "when")
    out.print(table(columns, map(_cells, found)))


@app.command()
def clear(
    model: Annotated[
        str | None,
        typer.Argument(help="A model of the listing: its file's name, or how its key begins."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON (hal.routes/1).")] = False,
) -> None:
    """Forget the decisions for one model, or all of them with what was measured for them.

    Example: hal routes clear --yes
    """
    with Store() as store:
        store.require()
        found = [s for s in stored_routes(store) if model is None or _is(s, model)]
        if model is not None and not found:
            raise UsageError(f"no decision is kept for {model!r}", next_step="hal routes")
        if found and not yes and not typer.confirm(f"Forget {len(found)} decisions?", err=True):
            found = []
        elif model is not None or found:
            clear_routes(store, None if model is None else found)
        elif yes:
            clear_routes(store, None)
    if as_json:
        write_json("hal.routes/1", {"removed": len(found)})
    else:
        console().print(f"forgot {len(found)} decisions")


def _is(stored: Stored, model: str) -> bool:
    return stored.name == model or (len(model) >= 6 and stored.fingerprint.startswith(model))


def _document(stored: Stored) -> Mapping[str, Any]:
    route = None if stored.route is None else stored.route.document()
    return {
        "model": stored.name,
        "fingerprint": stored.fingerprint,
        "sizes": dict(stored.sizes),
        "time": stored.time,
        "route": route,
    }


def _cells(stored: Stored) -> tuple[str, ...]:
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(stored.time))
    name = stored.name or stored.fingerprint[:12]
    sizes = ",".join(f"{n}={s}" for n, s in stored.sizes.items())
    route = stored.route
    if route is None:
        return (name, sizes, "", "", "waits for the next hal.load", "", when)
    accuracy = "float32" if route.accuracy is None else f"{route.accuracy:g}"
    winner = route.winner
    return (
        name, sizes, route.policy, accuracy, winner.candidate.label, duration(winner.median), when
    )  # fmt: skip
