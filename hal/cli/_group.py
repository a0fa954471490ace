"""The command group: subcommands are known by name and help line, and imported when one is run."""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from hal.cli import COMMANDS_GROUP, Command
from hal.errors import AbsentError, UsageError, did_you_mean

__all__ = ["HELP_FLAGS", "ClosedPipe", "LazyGroup"]

HELP_FLAGS = {"help_option_names": ["-h", "--help"]}
"""`context_settings` of an app; its commands inherit them."""


class ClosedPipe(Exception):
    """Nobody reads standard output any more. Typer would end a BrokenPipeError with exit code 1."""


class LazyGroup(TyperGroup):
    """Subcommands from the entry-point group `hal.commands`; a subclass may have others."""

    _found: dict[str, Command] | None = None

    def discover(self) -> dict[str, Command]:
        """The subcommands by name. Called once, when one is named or the help is shown."""
        return _discover()

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(self._commands())

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A stand-in with the help line; `resolve_command` gives the real one."""
        command = self._commands().get(cmd_name)
        return None if command is None else TyperCommand(cmd_name, help=command.help)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str, Any, list[str]]:
        name, commands = args[0], self._commands()
        if name in commands:
            return name, _load(ctx.command_path, name, commands[name]), args[1:]
        if ctx.resilient_parsing:  # completion asks on its way, and must not be refused
            return name, None, args[1:]
        raise UsageError(
            f"there is no command {name!r}.{did_you_mean(name, commands)}",
            next_step=f"{ctx.command_path} --help",
        )

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise ClosedPipe from error

    def _commands(self) -> dict[str, Command]:
        if self._found is None:
            self._found = self.discover()
        return self._found


def _discover() -> dict[str, Command]:
    """All commands; a module that cannot be imported costs its own, and is named on stderr."""
    commands: dict[str, Command] = {}
    owners: dict[str, str] = {}
    for entry_point in sorted(
        importlib.metadata.entry_points(group=COMMANDS_GROUP), key=lambda e: (e.name, e.value)
    ):
        try:
            provided = _checked(entry_point.load())
        except (Exception, SystemExit) as error:  # noqa: BLE001 (a plugin may raise anything)
            _warn(f"the commands of {entry_point.name} are left out: {error!r}")
            continue
        for name, command in provided.items():
            if name in commands:
                _warn(
                    f"{owners[name]} and {entry_point.name} both provide the command {name!r}; "
                    f"the one of {owners[name]} is used"
                )
                continue
            commands[name], owners[name] = command, entry_point.name
    return commands


def _checked(value: object) -> dict[str, Command]:
    if not isinstance(value, dict) or not all(isinstance(v, Command) for v in value.values()):
        raise TypeError("a hal.commands entry point names a dict of hal.cli.Command")
    return value


def _warn(message: str) -> None:
    print(f"warning: {message}", file=sys.stderr)


def _load(program: str, name: str, command: Command) -> Any:
    module, _, attribute = command.target.partition(":")
    try:
        target = getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        raise AbsentError(
            f"{program} {name} needs the Python module {error.name!r}, which is not installed",
            next_step="hal doctor",
        ) from error
    if not isinstance(target, typer.Typer):
        app = typer.Typer(add_completion=False)
        app.command(name, context_settings=HELP_FLAGS)(target)
        target = app
    loaded = typer.main.get_command(target)
    loaded.name = name
    return loaded
