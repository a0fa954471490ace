"""The `hal` command. Its subcommands come from entry points of the group `hal.commands`.

Such an entry point names a mapping of names to `Command`s, in a module that holds nothing else:
`hal --help` imports it, but neither a plugin nor what carries a command out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

__all__ = ["COMMANDS_GROUP", "Command", "main"]

COMMANDS_GROUP = "hal.commands"


@dataclasses.dataclass(frozen=True)
class Command:
    """A subcommand: `target` is "module:attribute" of a function for Typer or a `typer.Typer`, and
    `help` the line that `hal --help` shows."""

    target: str
    help: str


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the `hal` command and return its exit code (see docs/exit-codes.md)."""
    from hal.cli._main import run

    return run(arguments)
