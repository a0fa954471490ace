"""The making of an environment, of steps that a later call finds done."""

from __future__ import annotations

import dataclasses
import datetime
import importlib.metadata
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from hal.elsewhere._interpreter import Interpreter, find_interpreter, inspect
from hal.elsewhere._linked import link_distributions
from hal.elsewhere._lockfile import Pin, read_lock
from hal.elsewhere._places import (
    Record,
    digest,
    environments_dir,
    host_command,
    interpreter,
    lock_file,
    read_record,
    unregister,
)
from hal.elsewhere._steps import Progress, Steps
from hal.elsewhere.environments import exclusive, sweep
from hal.errors import HalError, UnavailableError, UsageError
from hal.host import Host
from hal.plugins import RegisteredBackend

__all__ = ["Built", "create_environment"]

_STAMP = "building-from"  # the digest of the lock file that `venv` is built from
_PROBE_SECONDS = 120.0


@dataclasses.dataclass(frozen=True)
class Built:
    """An environment that is registered now. `installed` counts the distributions that this call
    installed; `devices` are the ids that its backends listed, and `reasons` say, by backend, why
    one listed none."""

    record: Record
    installed: int
    devices: tuple[str, ...]
    reasons: dict[str, str]


def create_environment(
    backends: Sequence[RegisteredBackend],
    *,
    python: str = "",
    progress: Progress = lambda text: None,
) -> Built:
    """Build the environment that `backends` ask for, or bring it up to date, and register it.

    What an earlier call has installed stays. `progress` is told each step. `python` names the
    interpreter to build it with. Raises UnavailableError for a step that fails, naming it and the
    log; BrokenError for a wrong lock file; OutputError when the disk is full; UsageError for an
    interpreter that does not fit.
    """
    first = backends[0]
    spec = first.spec.environment
    if spec is None:
        raise UsageError(f"{first.name} asks for no environment of its own")
    lock = lock_file(first.module, spec.lock)
    base = find_interpreter(spec.python, python)
    pins = read_lock(lock, base.markers)
    folder = environments_dir() / spec.name
    with (
        exclusive(folder, lambda: progress(f"waiting for the process that builds {spec.name}")),
        Steps(spec.name, folder / "create.log", progress) as steps,
    ):
        return _build(folder, base, pins, digest(lock), backends, steps)


def _build(
    folder: Path,
    base: Interpreter,
    pins: Sequence[Pin],
    lock: str,
    backends: Sequence[RegisteredBackend],
    steps: Steps,
) -> Built:
    sweep(folder)
    there = _there(folder, base, lock)
    todo = list(pins) if there is None else [p for p in pins if not _installed(p, there.packages)]
    steps.total = (there is None) + len(todo) + 2
    if there is None or todo:
        unregister(folder)
    if there is None:
        there = _make_venv(folder, base, lock, steps)
    for pin in todo:
        steps.begin(f"install {pin}")
        _forget_half(pin, there.packages)
        pip = [str(there.path), "-I", "-m", "pip", "--disable-pip-version-check", "--no-input"]
        steps.run([*pip, "install", "--no-deps", "--no-compile", "--progress-bar", "off", str(pin)])
    steps.begin(f"link hal-core and {backends[0].distribution}")
    link_distributions(there.packages, backends[0].distribution, [b.module for b in backends])
    steps.begin("ask for its devices")
    devices, reasons = _probe(folder.name, backends, steps)
    record = read_record(folder.name)
    if record is None or todo:
        now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        plugin = backends[0].distribution, backends[0].version
        record = Record(folder.name, there.version, lock, *plugin, len(pins), now)
        record.write(folder)
    return Built(record, len(todo), devices, reasons)


def _there(folder: Path, base: Interpreter, lock: str) -> Interpreter | None:
    """The environment's Python, if it was begun from the same lock file and runs, and has the
    version asked for."""
    try:
        if (folder / _STAMP).read_text(encoding="utf-8") != lock:
            return None
        found = inspect(interpreter(folder))
    except (OSError, ValueError, KeyError, subprocess.TimeoutExpired):
        return None
    return found if found.version == base.version else None


def _make_venv(folder: Path, base: Interpreter, lock: str, steps: Steps) -> Interpreter:
    steps.begin(f"make an environment of Python {base.version}")
    (folder / _STAMP).unlink(missing_ok=True)
    venv = folder / "venv"
    if venv.exists():
        shutil.rmtree(venv)
    steps.run([str(base.path), "-I", "-m", "venv", str(venv)])
    (folder / _STAMP).write_text(lock, encoding="utf-8")
    return inspect(interpreter(folder))


def _installed(pin: Pin, packages: Path) -> bool:
    """Whether the distribution is there whole: pip writes the list of its files last. 2.13.0+cpu
    is what a pin of 2.13.0 brings where pip finds such a build."""
    wanted = SpecifierSet(f"=={pin.version}")
    return any(
        wanted.contains(d.version, prereleases=True) and d.read_text("RECORD") is not None
        for d in _distributions(pin, packages)
    )


def _forget_half(pin: Pin, packages: Path) -> None:
    """Of an installation that was cut short, what makes pip think that it is there."""
    for distribution in _distributions(pin, packages):
        path = getattr(distribution, "_path", None)
        if isinstance(path, Path) and distribution.read_text("RECORD") is None:
            shutil.rmtree(path)


def _distributions(pin: Pin, packages: Path) -> list[importlib.metadata.Distribution]:
    found = importlib.metadata.distributions(path=[str(packages)])
    return [d for d in found if d.metadata["Name"] and canonicalize_name(d.name) == pin.name]


def _probe(
    name: str, backends: Sequence[RegisteredBackend], steps: Steps
) -> tuple[tuple[str, ...], dict[str, str]]:
    """What each backend says when it is asked for its devices in the environment. One that lacks
    only a driver or a chip is no failure of the environment."""
    devices: list[str] = []
    reasons = {}
    for backend in backends:
        host = Host(backend.module, backend.name, command=host_command(name))
        try:
            with host:
                devices += [d.id for d in host.devices(timeout=_PROBE_SECONDS)]
        except UnavailableError as error:
            reasons[backend.name] = str(error)
        except HalError as error:
            steps.write(error.traceback)
            raise steps.failed(f"{backend.name}: {error}") from None
    return tuple(devices), reasons
