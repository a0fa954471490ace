"""Where environments are on disk, and the record that registers one.

An environment is the folder `environments/NAME` of HAL's data: the Python environment in `venv`,
the log of its making in `create.log`, and `environment.json`, which is written last, in one piece.
An environment without it is none.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import json
import os
import sys
from pathlib import Path

from hal.backend import EnvironmentSpec
from hal.errors import BrokenError
from hal.paths import data_dir

__all__ = [
    "SCHEMA",
    "Record",
    "digest",
    "environments_dir",
    "host_command",
    "interpreter",
    "is_current",
    "lock_file",
    "read_record",
    "unregister",
]

SCHEMA = "hal.environment/1"
_RECORD = "environment.json"


@dataclasses.dataclass(frozen=True)
class Record:
    """What is kept of an environment: its name, the version of its Python, the SHA-256 of the lock
    file that it was built from, the distribution and version of the plugin, the number of
    distributions of the lock, and when it was made (ISO 8601)."""

    name: str
    python: str
    lock: str
    plugin: str
    plugin_version: str
    distributions: int
    created: str

    def write(self, folder: Path) -> None:
        """Register the environment in `folder`: from now on it is one. Raises OSError."""
        path = folder / f".{_RECORD}.{os.getpid()}"
        document = {"schema": SCHEMA, **dataclasses.asdict(self)}
        path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        path.replace(folder / _RECORD)


def environments_dir() -> Path:
    """The folder of all environments."""
    return data_dir() / "environments"


def read_record(name: str) -> Record | None:
    """The record of an environment; None if it was never finished, or cannot be read."""
    try:
        text = (environments_dir() / name / _RECORD).read_text(encoding="utf-8")
        document = json.loads(text)
        if document.pop("schema") != SCHEMA:
            return None
        return Record(**document)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def unregister(folder: Path) -> None:
    """From now on the environment in `folder` is none."""
    (folder / _RECORD).unlink(missing_ok=True)


def interpreter(folder: Path) -> Path:
    """The Python of the environment in `folder`."""
    return folder / "venv" / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def host_command(name: str) -> tuple[str, ...]:
    """What starts a host in an environment. It is deaf to PYTHONPATH and the like, and a file in
    the working directory stands in for nothing."""
    return (str(interpreter(environments_dir() / name)), "-I", "-m", "hal.host")


def lock_file(module: str, lock: str) -> Path:
    """The lock file `lock` beside a plugin's module. Raises BrokenError if there is none."""
    spec = importlib.util.find_spec(module)
    folder = Path(spec.origin).parent if spec and spec.origin else None
    if folder is None or not (folder / lock).is_file():
        raise BrokenError(
            f"the plugin {module} names a lock file {lock!r} that is not beside it",
            next_step="reinstall the plugin, or tell its author",
        )
    return folder / lock


def is_current(spec: EnvironmentSpec, module: str) -> bool:
    """Whether the environment that a plugin's module asks for is there, built from the lock file
    that it has now."""
    record = read_record(spec.name)
    return record is not None and record.lock == digest(lock_file(module, spec.lock))


def digest(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
