"""What commands print with: one table style, one writer of JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hal._text import printable

__all__ = ["OutputConsole", "console", "human_bytes", "stderr_console", "table", "write_json"]

_UNBOUNDED = 10_000
_STYLES = {"ready": "green", "absent": "dim", "unavailable": "yellow", "broken": "red"}


class OutputConsole(Console):
    """A rich console that lets `main` handle a closed pipe, and shows no control characters."""

    def print(self, *objects: Any, **options: Any) -> None:
        shown = (printable(o, keep="\n\t") if isinstance(o, str) else o for o in objects)
        super().print(*shown, **options)

    def on_broken_pipe(self) -> NoReturn:
        raise BrokenPipeError


def console() -> Console:
    """A console on standard output. Outside a terminal it neither colours nor wraps."""
    return _console(stderr=False)


def stderr_console() -> Console:
    """A console on standard error, for progress and warnings."""
    return _console(stderr=True)


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _UNBOUNDED
    return OutputConsole(
        stderr=stderr, width=width, markup=False, highlight=False, emoji=False, soft_wrap=True
    )


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, title: str = "") -> Table:
    """A table of text. Cells that name a state are coloured; a column "size" is set right."""
    result = Table(
        title=title or None,
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    for column in columns:
        result.add_column(
            column,
            justify="right" if column in ("memory", "size") else "left",
            no_wrap=column in ("id", "backend", "what", "state"),
            overflow="fold",
        )
    for row in rows:
        result.add_row(
            *(Text(printable(cell, keep="\n"), style=_STYLES.get(cell, "")) for cell in row)
        )
    return result


def write_json(schema: str, values: Mapping[str, Any]) -> None:
    """Print one JSON document, with the name and version of its schema, to standard output."""
    document = {"schema": schema, **values}
    sys.stdout.write(json.dumps(document, indent=2) + "\n")


def human_bytes(count: int) -> str:
    """A number of bytes in binary units, e.g. "1.5 GiB"."""
    size, units = float(count), ["B", "KiB", "MiB", "GiB", "TiB"]
    while size >= 1024 and len(units) > 1:
        size /= 1024
        units.pop(0)
    return f"{size:.0f} {units[0]}" if units[0] == "B" else f"{size:.1f} {units[0]}"
