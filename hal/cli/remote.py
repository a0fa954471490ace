"""`hal remote`: the devices of other machines, through ssh."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from hal import __version__
from hal.cli._group import HELP_FLAGS
from hal.cli._output import console, stderr_console, table, write_json
from hal.elsewhere.remotes import Remote, add_remote, read_remotes, remove_remote

__all__ = ["add", "app", "list_remotes", "remove"]

app = typer.Typer(
    add_completion=False,
    context_settings=HELP_FLAGS,
    no_args_is_help=True,
    help="The devices of other machines, through ssh, as in board/ort:cpu.",
)


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="What to call the machine: board gives board/ort.")],
    destination: Annotated[str, typer.Argument(metavar="USER@HOST", help="As ssh takes it.")],
    python: Annotated[
        str, typer.Option(metavar="PATH", help="The Python there that has hal-core and plugins.")
    ] = "python3",
    ssh_option: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="As in ssh_config, e.g. Port=2222. Repeatable."),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="In place of the remote of that name.")
    ] = False,
    timeout: Annotated[
        float, typer.Option(min=1, help="Seconds that the machine has to answer.")
    ] = 60.0,
) -> None:
    """Add another machine: its backends are asked for once, its devices whenever they are listed.

    ssh must get in without a password (a key, an agent), and know the host's key. Add it anew with
    --replace after plugins were installed there.

    Exits with 5 if it cannot be reached, or has no hal of the same protocol.

    Examples:

      hal remote add board user@192.168.1.7

      hal remote add board board.local --python venv/bin/python --ssh-option Port=2222
    """
    with stderr_console().status(f"asking {destination}"):
        remote = add_remote(
            name,
            destination,
            python=python,
            options=ssh_option or (),
            replace=replace,
            timeout=timeout,
        )
    out = console()
    out.print(f"{name}: hal {remote.hal}, Python {remote.python_version}, {remote.platform}")
    if remote.hal != __version__:
        out.print(f"here is hal {__version__}; both speak the same protocol")
    out.print(f"backends: {', '.join(f'{name}/{b.name}' for b in remote.backends)}")


@app.command("list")
def list_remotes(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON (hal.remotes/1).")] = False,
) -> None:
    """List the machines that were added. None is asked; `hal devices` does that.

    Example: hal remote list --json
    """
    found = read_remotes()
    if as_json:
        rows = [
            dataclasses.asdict(r) if isinstance(r, Remote) else {"name": n, "broken": str(r)}
            for n, r in found.items()
        ]
        write_json("hal.remotes/1", {"remotes": rows})
        return
    out = console()
    if not found:
        out.print("No remote is known. next: hal remote add NAME USER@HOST")
        return
    out.print(
        table(
            ("name", "destination", "python", "hal", "backends"),
            (
                (r.name, r.destination, r.python, r.hal, ", ".join(b.name for b in r.backends))
                if isinstance(r, Remote)
                else (n, f"broken: {r}", "", "", f"next: {r.next_step}")
                for n, r in found.items()
            ),
        )
    )


def _complete(incomplete: str) -> list[str]:
    return [name for name in read_remotes() if name.startswith(incomplete)]


@app.command()
def remove(
    name: Annotated[str, typer.Argument(help="The machine's name.", autocompletion=_complete)],
) -> None:
    """Forget a machine. Nothing is changed there.

    Example: hal remote remove board
    """
    remove_remote(name)
    console().print(f"removed {name}")
