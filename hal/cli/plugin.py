"""`hal plugin new`: a backend plugin to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast, get_args

import typer

from hal.cli._group import HELP_FLAGS
from hal.cli._output import console, write_json
from hal.device import DeviceKind
from hal.errors import UsageError
from hal.plugins import load_plugins
from hal.scaffold import NewPlugin, Style, write_plugin

__all__ = ["app", "new"]

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    context_settings=HELP_FLAGS,
)


@app.callback()
def _plugin() -> None:
    """Start a backend plugin of your own; `hal plugins` lists the installed ones."""


@app.command("new")
def new(
    name: Annotated[str, typer.Argument(help="The backend's name, e.g. my-npu.")],
    style: Annotated[
        str,
        typer.Option(
            help="kernels: a table of operator kernels. compiler: your SDK takes whole models.",
            autocompletion=lambda: list(get_args(Style)),
        ),
    ] = "kernels",
    kind: Annotated[
        str,
        typer.Option(help="The kind of device.", autocompletion=lambda: list(get_args(DeviceKind))),
    ] = "npu",
    into: Annotated[
        Path, typer.Option("--into", metavar="FOLDER", help="Where to make its folder.")
    ] = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON (hal.plugin-new/1).")] = False,
) -> None:
    """Write a distribution that installs, passes its own tests and has a first conformance score.

    It has a package with its entry point, an expectations file, tests, a CI workflow and a README.
    Exits with 2 for a name that cannot be one, 4 for a folder that exists.

    Examples:

      hal plugin new my-npu

      hal plugin new my-npu --style compiler --kind gpu --into ~/src
    """
    plugin = NewPlugin(name, cast(Style, style), cast(DeviceKind, kind))
    _refuse_taken(name)
    folder = write_plugin(plugin, into)
    files = sorted(plugin.files())
    steps = [
        f"pip install -e '{folder}[test]'",
        f"pytest {folder}",
        f"hal conformance --device {plugin.device}",
    ]
    if as_json:
        write_json(
            "hal.plugin-new/1",
            {"folder": str(folder), "device": plugin.device, "files": files, "next": steps},
        )
        return
    out = console()
    out.print(f"{folder}: {', '.join(files)}")
    for step in steps:
        out.print(f"next: {step}")


def _refuse_taken(name: str) -> None:
    with load_plugins() as registry:
        owner = registry.backends.get(name)
    if owner is not None:
        raise UsageError(
            f"{owner.distribution} provides a backend {name!r} here already",
            next_step="choose another name",
        )
