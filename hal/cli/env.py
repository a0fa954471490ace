"""`hal env`: Python environments for backends whose SDK clashes with everyone else's."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated

import typer

from hal.cli._group import HELP_FLAGS
from hal.cli._output import console, human_bytes, stderr_console, table, write_json
from hal.elsewhere.building import create_environment
from hal.elsewhere.environments import environments, remove_environment, wanted
from hal.errors import UsageError, did_you_mean
from hal.plugins import RegisteredBackend, load_plugins

__all__ = ["app", "create", "list_environments", "remove"]

app = typer.Typer(
    add_completion=False,
    context_settings=HELP_FLAGS,
    no_args_is_help=True,
    help="Python environments for backends whose SDK clashes with everyone else's.",
)


def _complete_wanted(incomplete: str) -> list[str]:
    return [name for name in wanted(load_plugins().backends) if name.startswith(incomplete)]


@app.command()
def create(
    name: Annotated[
        str, typer.Argument(help="The environment's name.", autocompletion=_complete_wanted)
    ],
    python: Annotated[
        str,
        typer.Option(metavar="PATH", help="The Python to build it with. Default: one that fits."),
    ] = "",
) -> None:
    """Build the environment that a plugin asks for, and register it.

    Each distribution of the plugin's lock file is installed by pip, whose settings hold (such as
    PIP_EXTRA_INDEX_URL); then the backend is asked for its devices. A build that was cut short, by
    Ctrl-C or a broken download, is taken up where it was. Where all is there, it only checks.

    Exits with 5 if a step fails; the message names the step and the log.

    Examples:

      hal env create rknn

      hal env create rknn --python python3.11
    """
    backends = wanted(load_plugins().backends)
    if name not in backends:
        raise _unknown(name, backends)
    err = stderr_console()
    try:
        with err.status(f"building {name}") as status:

            def tell(text: str) -> None:
                status.update(text)
                if not err.is_terminal:
                    err.print(text)

            built = create_environment(backends[name], python=python, progress=tell)
    except KeyboardInterrupt:
        err.print(f"interrupted; hal env create {name} goes on from there")
        raise
    out = console()
    what = f"{built.installed} installed now" if built.installed else "all there already"
    count, version = built.record.distributions, built.record.python
    out.print(f"{name} is ready: Python {version}, {count} distributions, {what}")
    if built.devices:
        out.print(f"devices: {', '.join(built.devices)}")
    for backend, reason in built.reasons.items():
        out.print(f"{backend} has no device now: {reason}")


@app.command("list")
def list_environments(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON (hal.env/1).")] = False,
) -> None:
    """List the environments that plugins ask for, and what is on disk.

    Example: hal env list --json
    """
    found = environments(load_plugins().backends)
    if as_json:
        rows = [{**dataclasses.asdict(e), "path": str(e.path)} for e in found]
        write_json("hal.env/1", {"environments": rows})
        return
    out = console()
    if not found:
        out.print("No plugin asks for an environment of its own, and none is on disk.")
        return
    columns = ("name", "state", "backends", "plugin", "python", "size", "next")
    out.print(
        table(
            columns,
            (
                (
                    e.name,
                    e.state,
                    ", ".join(e.backends),
                    e.distribution,
                    e.python,
                    human_bytes(e.size) if e.size else "",
                    e.next_step,
                )
                for e in found
            ),
        )
    )


def _complete_present(incomplete: str) -> list[str]:
    found = environments(load_plugins().backends)
    return [e.name for e in found if e.size and e.name.startswith(incomplete)]


@app.command()
def remove(
    name: Annotated[
        str, typer.Argument(help="The environment's name.", autocompletion=_complete_present)
    ],
) -> None:
    """Remove an environment, finished or not, without a trace.

    Example: hal env remove rknn
    """
    err = stderr_console()
    folder = remove_environment(name, lambda: err.print("waiting for the process that builds it"))
    console().print(f"removed {folder}")


def _unknown(name: str, known: Mapping[str, list[RegisteredBackend]]) -> UsageError:
    if not known:
        return UsageError(
            f"no installed plugin asks for an environment, {name!r} or another",
            next_step="hal plugins",
        )
    return UsageError(
        f"no installed plugin asks for an environment {name!r}.{did_you_mean(name, known)}"
        f" Environments: {', '.join(known)}.",
        next_step="hal env list",
    )
