"""What the installed PyTorch declares, without importing it: asked of a child process, and kept."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hal.errors import AbsentError, BrokenError
from hal.paths import cache_dir

__all__ = ["OpFacts", "catalogue"]

FORMAT = 1
"""Changes with what `python -m hal_torch.opinfo` prints: older files are not read."""

_NEEDS = ("torch", "scipy", "expecttest")
_TIMEOUT = 600.0  # seconds; it takes 15 on a machine with nothing else to do


@dataclasses.dataclass(frozen=True)
class OpFacts:
    """An OpInfo. `kind` is its class, `dtypes` and `backward` those that it declares for the CPU,
    `core` the core ATen operators that it stands for."""

    name: str
    kind: str
    dtypes: tuple[str, ...]
    backward: tuple[str, ...]
    core: tuple[str, ...]


def catalogue() -> tuple[str, tuple[OpFacts, ...]]:
    """The versions that it holds for ("torch 2.13.0, scipy 1.17.1"), and the OpInfos in their
    order. Raises AbsentError if torch, scipy or expecttest is not installed, and BrokenError if
    this torch cannot tell."""
    versions = {name: _version(name) for name in _NEEDS}
    key = "-".join(f"{name}-{versions[name]}" for name in ("torch", "scipy"))
    path = cache_dir() / "suites" / f"opinfo-{key}-{FORMAT}.json"
    facts = _read(path)
    if not facts:
        text = _ask()
        facts = _parse(text)
        _keep(path, text)
    return f"torch {versions['torch']}, scipy {versions['scipy']}", facts


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        raise AbsentError(
            f"the suite torch needs {distribution}", next_step="pip install 'hal-torch[suite]'"
        ) from None


def _read(path: Path) -> tuple[OpFacts, ...]:
    try:
        return _parse(path.read_text(encoding="utf-8"))
    except (OSError, BrokenError):
        return ()


def _parse(text: str) -> tuple[OpFacts, ...]:
    try:
        return tuple(_facts(row) for row in json.loads(text))
    except (ValueError, KeyError, TypeError) as error:
        raise BrokenError(f"PyTorch's operators cannot be listed: {error}") from error


def _facts(row: dict[str, Any]) -> OpFacts:
    names: Sequence[tuple[str, ...]] = [
        tuple(str(item) for item in row[key]) for key in ("dtypes", "backward", "core")
    ]
    return OpFacts(str(row["name"]), str(row["kind"]), *names)


def _ask() -> str:
    command = [sys.executable, "-m", "hal_torch.opinfo"]
    # threads that wait for each other cost minutes on a busy machine, and the samples are small
    environment = {**os.environ, "PYTHONSAFEPATH": "1", "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise BrokenError(f"PyTorch's operators were not listed in {_TIMEOUT:.0f} s") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise BrokenError(
            f"PyTorch's operators cannot be listed: {lines[-1]}",
            traceback=done.stderr,
            next_step=f"{command[0]} -m hal_torch.opinfo",
        )
    return done.stdout


def _keep(path: Path, text: str) -> None:
    """Best effort: without it the next run asks again."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=path.name, suffix=".tmp", dir=path.parent)
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        Path(name).replace(path)
    except OSError:
        return
