"""The console script `hal-conformance`: what goes in and out of the suites, beside `hal`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

import hal_conformance
from hal.cli import Command
from hal.cli._group import HELP_FLAGS, LazyGroup
from hal.cli._main import run

__all__ = ["COMMANDS", "main"]

COMMANDS = {
    "export": Command(
        "hal_conformance.cli_export:export", "Write a suite's cases in ONNX's test-data layout."
    ),
    "import": Command(
        "hal_conformance.cli_import:import_results", "Score what a runner elsewhere brought back."
    ),
    "selftest": Command(
        "hal_conformance.cli_selftest:selftest_command",
        "Count which suite notices kernels made wrong on purpose.",
    ),
}
"""The subcommands, imported when they are run."""


class _Commands(LazyGroup):
    def discover(self) -> dict[str, Command]:
        return dict(COMMANDS)


app = typer.Typer(cls=_Commands, context_settings=HELP_FLAGS, add_completion=True)


def _version(value: bool) -> None:
    if value:
        print(f"hal-conformance {hal_conformance.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Take the conformance suites elsewhere. Devices on this machine: hal conformance."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `hal-conformance` and return its exit code (see docs/exit-codes.md)."""
    return run(arguments, program=app, name="hal-conformance")
