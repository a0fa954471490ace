"""The environments that plugins ask for and that the disk holds; one process at a time works on
one."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Literal

from hal.backend import EnvironmentSpec
from hal.elsewhere._places import (
    digest,
    environments_dir,
    interpreter,
    lock_file,
    read_record,
)
from hal.errors import HalError, OutputError, UsageError, did_you_mean
from hal.plugins import RegisteredBackend

try:
    import fcntl
except ImportError:  # Windows: two processes at work on one environment are not kept apart
    fcntl = None  # type: ignore[assignment]

__all__ = [
    "Environment",
    "State",
    "environments",
    "exclusive",
    "remove_environment",
    "sweep",
    "wanted",
]

State = Literal["ready", "absent", "unfinished", "stale", "broken", "orphan"]


@dataclasses.dataclass(frozen=True)
class Environment:
    """An environment that a plugin asks for, or that is on disk. `state`: "ready"; "absent" (not
    created yet), "unfinished" (its making was cut short), "stale" (built from another lock file),
    "broken" (its Python is gone), "orphan" (no installed plugin asks for it). `size` in bytes."""

    name: str
    state: State
    backends: tuple[str, ...]
    distribution: str
    python: str
    size: int
    path: Path
    next_step: str = ""


def wanted(backends: Mapping[str, RegisteredBackend]) -> dict[str, list[RegisteredBackend]]:
    """The backends that ask for an environment, by its name."""
    found: dict[str, list[RegisteredBackend]] = {}
    for backend in backends.values():
        if backend.spec.environment is not None:
            found.setdefault(backend.spec.environment.name, []).append(backend)
    return dict(sorted(found.items()))


def environments(backends: Mapping[str, RegisteredBackend]) -> list[Environment]:
    """Every environment that one of the plugins' backends asks for or that is on disk, by name."""
    asked = wanted(backends)
    names = asked.keys() | {*_on_disk(), *_half_removed()}
    return [_environment(name, asked.get(name, [])) for name in sorted(names)]


def remove_environment(name: str, waiting: Callable[[], None] = lambda: None) -> Path:
    """Remove an environment, finished or not, and return where it was. `waiting` is called if
    another process is at work on it. Raises UsageError if there is none, OutputError if it cannot
    be removed."""
    if name not in {*_on_disk(), *_half_removed()}:  # nor any other path
        raise UsageError(
            f"there is no environment {name!r}.{did_you_mean(name, _on_disk())}",
            next_step="hal env list",
        )
    folder = environments_dir() / name
    with exclusive(folder, waiting):
        try:
            # Out of the way in one step: a removal that is cut short leaves nothing to be used.
            folder.rename(folder.with_name(f".{name}.{secrets.token_hex(4)}"))
            sweep(folder)
            with contextlib.suppress(OSError):
                folder.parent.rmdir()  # the last one leaves no trace
        except OSError as error:
            raise OutputError(f"{error.filename or folder}: {error.strerror or error}") from None
    return folder


def sweep(folder: Path) -> None:
    """Take away what removals that were cut short have left of an environment. Raises OSError."""
    for gone in folder.parent.glob(f".{folder.name}.*"):
        shutil.rmtree(gone)


@contextlib.contextmanager
def exclusive(folder: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the folder of an environment, made if need be, against other processes; `waiting` is
    called once if another one has it. Raises OutputError if the folder cannot be made."""
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            held = os.open(folder, os.O_RDONLY) if fcntl is not None else -1
        except FileNotFoundError:
            continue  # removed at this moment
        except OSError as error:
            raise OutputError(
                f"{folder} cannot be made: {error.strerror or error}", next_step="hal doctor"
            ) from None
        try:
            if fcntl is not None:
                try:
                    fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    waiting()
                    fcntl.flock(held, fcntl.LOCK_EX)
                if not _same(folder, held):
                    continue  # the one that held it has removed the folder
            yield
            return
        finally:
            if held >= 0:
                os.close(held)


def _same(folder: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(folder.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _on_disk() -> list[str]:
    folder = environments_dir()
    if not folder.is_dir():
        return []
    return [p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")]


def _half_removed() -> list[str]:
    """The names of those whose removal was cut short."""
    return [p.name[1:].rpartition(".")[0] for p in environments_dir().glob(".*.*")]


def _environment(name: str, backends: list[RegisteredBackend]) -> Environment:
    folder, record = environments_dir() / name, read_record(name)
    first = backends[0] if backends else None
    state: State
    if record is None:
        state = "unfinished" if folder.is_dir() or not backends else "absent"
    elif not interpreter(folder).exists():
        state = "broken"
    elif first is None or first.spec.environment is None:
        state = "orphan"
    else:
        state = "ready" if _fits(record.lock, first.spec.environment, first.module) else "stale"
    steps = {"orphan": f"hal env remove {name}", "ready": ""}
    if not backends:
        steps["unfinished"] = steps["broken"] = f"hal env remove {name}"
    return Environment(
        name,
        state,
        tuple(b.name for b in backends),
        first.distribution if first else record.plugin if record else "",
        record.python if record else "",
        _size(folder),
        folder,
        steps.get(state, f"hal env create {name}"),
    )


def _fits(lock: str, spec: EnvironmentSpec, module: str) -> bool:
    try:
        return lock == digest(lock_file(module, spec.lock))
    except (HalError, OSError):
        return False


def _size(folder: Path) -> int:
    total = 0
    for path, _, files in os.walk(folder):
        for file in files:
            with contextlib.suppress(OSError):
                total += os.lstat(f"{path}/{file}").st_size
    return total
