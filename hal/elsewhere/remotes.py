"""The other machines that HAL knows: a file each, in the folder `remotes` of HAL's data."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hal import __version__
from hal.backend import Option
from hal.elsewhere._ssh import ask, check_destination, check_options, ssh_command
from hal.elsewhere.inventory import MARK
from hal.errors import DataError, OutputError, UnavailableError, UsageError, did_you_mean
from hal.host._wire import PROTOCOL
from hal.paths import data_dir

__all__ = ["Remote", "RemoteBackend", "add_remote", "read_remotes", "remotes_dir", "remove_remote"]

SCHEMA = "hal.remote/1"
_NAME = re.compile(r"[A-Za-z][\w-]{0,62}")
_BACKEND = re.compile(r"[a-z][\w-]*")
_MODULE = re.compile(r"\w+(\.\w+)*")
_SECONDS = 60.0


@dataclasses.dataclass(frozen=True)
class RemoteBackend:
    """A backend that a plugin provides on another machine, as that machine told. `command` starts
    its host there, where that is not the remote's own Python."""

    name: str
    module: str
    distribution: str
    version: str
    summary: str = ""
    abilities: tuple[str, ...] = ()
    conformance_options: Mapping[str, Option] = dataclasses.field(default_factory=dict)
    command: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not _BACKEND.fullmatch(self.name) or not _MODULE.fullmatch(self.module):
            raise ValueError(f"{self.name!r} of {self.module!r} is no backend")


@dataclasses.dataclass(frozen=True)
class Remote:
    """Another machine: how ssh reaches it, its Python, and what it told when it was added."""

    name: str
    destination: str
    python: str
    options: tuple[str, ...]
    hal: str
    python_version: str
    platform: str
    backends: tuple[RemoteBackend, ...]

    def host_command(self, backend: RemoteBackend) -> tuple[str, ...]:
        """What starts a host of one of its backends."""
        command = backend.command or (self.python, "-m", "hal.host")
        return ssh_command(self.destination, self.options, command)


def remotes_dir() -> Path:
    """The folder with a file for each remote."""
    return data_dir() / "remotes"


def add_remote(
    name: str,
    destination: str,
    *,
    python: str = "python3",
    options: Sequence[str] = (),
    replace: bool = False,
    timeout: float = _SECONDS,
) -> Remote:
    """Ask a machine what backends it has, and keep the answer.

    Raises UsageError for a name that is taken or is none, UnavailableError if the machine cannot be
    reached, has no hal, no backend or another protocol, OutputError if nothing can be written.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is no name: a letter, then letters, digits, _ or -", next_step="e.g. board"
        )
    path = remotes_dir() / f"{name}.json"
    if path.exists() and not replace:
        raise UsageError(
            f"there is a remote {name!r} already",
            next_step=f"hal remote add --replace {name} {destination}",
        )
    check_destination(destination)
    options = check_options(options)
    if not python or python.startswith("-"):
        raise UsageError(f"--python: {python!r} is no program", next_step="give its path there")
    python = python.removeprefix("~/")  # ssh starts there
    said = ask(destination, options, [python, "-m", "hal.elsewhere.inventory"], timeout)
    remote = _remote(name, destination, python, options, _answer(destination, said))
    _write(path, remote)
    return remote


def remove_remote(name: str) -> None:
    """Forget a remote. Raises UsageError if there is none of that name."""
    known = {path.stem: path for path in _files()}
    if name not in known:
        raise UsageError(
            f"there is no remote {name!r}.{did_you_mean(name, known)}", next_step="hal remote list"
        )
    try:
        known[name].unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{known[name]}: {error.strerror or error}") from None


def read_remotes() -> dict[str, Remote | DataError]:
    """Every remote by name; a DataError in place of one whose file cannot be read."""
    found: dict[str, Remote | DataError] = {}
    for path in _files():
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            if data.pop("schema") != SCHEMA:
                raise ValueError("it is of another HAL")
            backends = tuple(_backend(b) for b in data.pop("backends"))
            options = tuple(map(str, data.pop("options")))
            remote = Remote(**data, options=options, backends=backends)
            check_destination(remote.destination)
            if remote.name != path.stem:
                raise ValueError(f"it is of {remote.name!r}")
            found[path.stem] = remote
        except (OSError, ValueError, TypeError, KeyError, AttributeError, UsageError) as error:
            found[path.stem] = DataError(
                f"{path} cannot be read: {error}", next_step=f"hal remote remove {path.stem}"
            )
    return found


def _files() -> list[Path]:
    folder = remotes_dir()
    return sorted(p for p in folder.glob("*.json") if _NAME.fullmatch(p.stem))


def _answer(destination: str, said: str) -> dict[str, Any]:
    _, found, text = said.rpartition(MARK)
    try:
        if not found:
            raise ValueError("no answer")
        data = json.loads(text)
        protocol, hal = data["protocol"], data["hal"]
    except (ValueError, TypeError, KeyError):
        raise UnavailableError(
            f"{destination} answers, but not as hal does",
            next_step="install the same version of hal-core on both sides",
        ) from None
    if protocol != PROTOCOL:
        raise UnavailableError(
            f"{destination} has hal {hal} with protocol {protocol}; here hal {__version__} has "
            f"protocol {PROTOCOL}",
            next_step="install the same version of hal-core on both sides",
        )
    return dict(data)


def _remote(
    name: str, destination: str, python: str, options: tuple[str, ...], data: Mapping[str, Any]
) -> Remote:
    try:
        backends = tuple(_backend(b) for b in data["backends"])
        hal, version, platform = (str(data[key]) for key in ("hal", "python", "platform"))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UnavailableError(f"{destination} answers with something malformed: {error}") from None
    if not backends:
        raise UnavailableError(
            f"{destination} has hal {hal}, and no plugin",
            next_step="install a plugin there, e.g. hal-onnxruntime",
        )
    return Remote(name, destination, python, options, hal, version, platform, backends)


def _backend(data: Any) -> RemoteBackend:
    return RemoteBackend(
        **{
            **data,
            "abilities": tuple(map(str, data["abilities"])),
            "command": tuple(map(str, data["command"])),
        }
    )


def _write(path: Path, remote: Remote) -> None:
    document = {"schema": SCHEMA, **dataclasses.asdict(remote)}
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        scratch.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: {error.strerror or error}", next_step="hal doctor") from None
