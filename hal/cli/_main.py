"""Runs the `hal` command: the one place that turns an error into a line and an exit code."""

from __future__ import annotations

import errno
import io
import os
import sys
import time
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer

import hal
from hal.cli._group import HELP_FLAGS, ClosedPipe, LazyGroup
from hal.errors import HalError, OutputError
from hal.paths import cache_dir

__all__ = ["EXIT_BUG", "EXIT_INTERRUPTED", "EXIT_PIPE", "run"]

EXIT_BUG = 70  # EX_SOFTWARE of sysexits.h
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells count
EXIT_PIPE = 141  # 128 + SIGPIPE
_DISK = {errno.ENOSPC, errno.EROFS, errno.EIO}

app = typer.Typer(
    cls=LazyGroup,
    add_completion=True,
    rich_markup_mode="rich",
    context_settings=HELP_FLAGS,
    help="What your accelerators run, whether it is right, where it ran, and how fast.",
)


def _version(value: bool) -> None:
    if value:
        print(f"hal {hal.__version__}")
        raise typer.Exit


@app.callback(epilog="First steps: [bold]hal devices[/], [bold]hal doctor[/]")
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """What your accelerators run, whether it is right, where it ran, and how fast."""


def run(
    arguments: Sequence[str] | None = None, *, program: typer.Typer = app, name: str = "hal"
) -> int:
    """Run one command line and return its exit code; no exception leaves.

    `program` and `name` are those of another console script that ends as `hal` does.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    command = typer.main.get_command(program)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A device's name must not stop a listing in a locale that cannot write it.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = command.main(arguments or ["--help"], prog_name=name, standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except HalError as error:
        return _hal_error(error)
    except typer.Exit as error:
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return EXIT_INTERRUPTED
    except (BrokenPipeError, ClosedPipe):
        return _closed_pipe()
    except SystemExit as error:
        # Typer ends completion this way.
        return error.code if isinstance(error.code, int) else 0
    except OSError as error:
        return _disk(error) if error.errno in _DISK else _bug(error)
    except Exception as error:  # noqa: BLE001 (whatever is left is a bug, and is reported as one)
        usage = _usage(error, _command_path(name, arguments))
        return _bug(error) if usage is None else usage


def _hal_error(error: HalError) -> int:
    if os.environ.get("HAL_DEBUG"):
        traceback.print_exception(error)
        if error.traceback:
            _say(error.traceback.rstrip())
    _say(f"error: {_one_line(str(error))}")
    if error.next_step:
        _say(f"next: {_one_line(error.next_step)}")
    return error.exit_code


def _command_path(name: str, arguments: Sequence[str]) -> str:
    """The command that these arguments name first."""
    return " ".join((name, *(a for a in arguments[:1] if a.isalpha())))


def _usage(error: Exception, command: str) -> int | None:
    """Say what Typer found wrong with the arguments; None if the error is not of that kind.

    Typer before 0.20 raises click's exceptions and later ones its own copy of them; both have
    `format_message` and `exit_code`, and nothing that a command raises by itself has.
    """
    if not any(cls.__name__ == "ClickException" for cls in type(error).__mro__):
        return None
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else command  # the parser knows none
    _say(f"error: {_one_line(error.format_message())}")  # type: ignore[attr-defined]
    _say(f"next: {path} --help")
    return 2


def _bug(error: Exception) -> int:
    text = "".join(traceback.format_exception(error))
    if os.environ.get("HAL_DEBUG"):
        _say(text.rstrip())
    folder = cache_dir() / "tracebacks"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.txt"
        path.write_text(f"hal {hal.__version__} {sys.argv[1:]}\n{text}", encoding="utf-8")
        where = f"the traceback is in {path}"
    except OSError:
        where = "set HAL_DEBUG=1 to see the traceback"
    _say(f"error: a bug in hal: {_one_line(f'{type(error).__name__}: {error}')}; {where}")
    return EXIT_BUG


def _closed_pipe() -> int:
    _drop_output()  # the reader went away (hal devices | head)
    return EXIT_PIPE


def _disk(error: OSError) -> int:
    _drop_output()
    where = f"{error.filename}: " if error.filename else "the output cannot be written: "
    _say(f"error: {where}{error.strerror}")
    return OutputError.exit_code


def _drop_output() -> None:
    # What is left in the buffer cannot be written either, and the interpreter would say so at exit.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _say(text: str) -> None:
    print(text, file=sys.stderr)
