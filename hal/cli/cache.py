"""`hal cache`: what HAL keeps on disk."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from hal.cli._group import HELP_FLAGS
from hal.cli._output import console, human_bytes, table, write_json
from hal.errors import OutputError, UsageError, did_you_mean
from hal.paths import cache_dir, data_dir

__all__ = ["Part", "app", "clear", "show"]

app = typer.Typer(add_completion=False, context_settings=HELP_FLAGS)


@dataclasses.dataclass(frozen=True)
class Part:
    """What lies in the cache or data folder (`kind` is "cache" or "data"); `size` is in bytes."""

    name: str
    kind: str
    path: Path
    size: int
    files: int


@app.callback(invoke_without_command=True)
def show(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON (hal.cache/1).")] = False,
) -> None:
    """Show what HAL keeps on disk, part by part; `hal cache clear` frees it.

    A cache can be made again; data (results of runs) cannot. HAL_HOME moves both.

    Example: hal cache --json
    """
    if context.invoked_subcommand is not None:
        return
    parts = _parts()
    if as_json:
        document = {
            "cache": str(cache_dir()),
            "data": str(data_dir()),
            "parts": [{**dataclasses.asdict(p), "path": str(p.path)} for p in parts],
            "size": _total(parts),
        }
        write_json("hal.cache/1", document)
        return
    out = console()
    out.print(f"cache: {cache_dir()}\ndata:  {data_dir()}")
    if not parts:
        out.print("nothing is kept")
        return
    rows = [(p.name, p.kind, human_bytes(p.size), str(p.files)) for p in parts]
    out.print(table(("part", "kind", "size", "files"), rows))
    out.print(f"{human_bytes(_total(parts))} in all")


def _complete_part(incomplete: str) -> list[str]:
    return [p.name for p in _parts() if p.name.startswith(incomplete)]


@app.command()
def clear(
    part: Annotated[
        str | None,
        typer.Argument(help="Clear only this part.", autocompletion=_complete_part),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON (hal.cache/1).")] = False,
) -> None:
    """Remove the cache, or one part of it. Data is removed only when its part is named.

    Example: hal cache clear suites --yes
    """
    parts = _parts()
    if part is None:
        chosen = [p for p in parts if p.kind == "cache"]
    else:
        chosen = [p for p in parts if p.name == part]
        if not chosen:
            names = [p.name for p in parts]
            raise UsageError(
                f"there is no part {part!r}.{did_you_mean(part, names)}"
                f" Parts: {', '.join(names) or 'none'}.",
                next_step="hal cache",
            )
    if not chosen:
        _report(chosen, as_json)
        return
    if not yes:
        for p in chosen:
            typer.echo(f"{human_bytes(p.size):>10}  {p.path}", err=True)
        if not typer.confirm(f"Remove {human_bytes(_total(chosen))}?", err=True):
            _report([], as_json)
            return
    for p in chosen:
        _remove(p.path)
    _report(chosen, as_json)


def _report(removed: Sequence[Part], as_json: bool) -> None:
    if as_json:
        write_json("hal.cache/1", {"removed": [p.name for p in removed], "size": _total(removed)})
    else:
        console().print(f"removed {human_bytes(_total(removed))}" if removed else "nothing removed")


def _total(parts: Sequence[Part]) -> int:
    return sum(p.size for p in parts)


def _parts() -> list[Part]:
    return [*_parts_of("cache", cache_dir()), *_parts_of("data", data_dir())]


def _parts_of(kind: str, folder: Path) -> list[Part]:
    try:
        paths = sorted(folder.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise OutputError(f"{folder}: {error.strerror or error}", next_step="hal doctor") from None
    parts = []
    for path in paths:
        files = [path] if path.is_symlink() or not path.is_dir() else _files(path)
        parts.append(Part(path.name, kind, path, sum(map(_size, files)), len(files)))
    return parts


def _files(folder: Path) -> list[Path]:
    return [p for p in folder.rglob("*") if p.is_symlink() or not p.is_dir()]


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0  # another process removed it meanwhile


def _remove(path: Path) -> None:
    try:
        if path.is_symlink() or not path.is_dir():
            path.unlink(missing_ok=True)  # a link goes, what it points to stays
        else:
            shutil.rmtree(path)
    except FileNotFoundError:
        return  # another process was faster
    except OSError as error:
        raise OutputError(f"{error.filename or path}: {error.strerror or error}") from None
