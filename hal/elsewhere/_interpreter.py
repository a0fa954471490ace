"""Python interpreters: what one says of itself, and one that fits a version specifier."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from packaging.specifiers import SpecifierSet

from hal.errors import UnavailableError, UsageError

__all__ = ["Interpreter", "find_interpreter", "inspect"]

_OLDEST, _NEWEST = 10, 20  # minor versions looked for on the PATH; hal needs 3.10
_HAL = SpecifierSet(">=3.10")
_SECONDS = 60.0
_CODE = """
import json, platform, sys, sysconfig
print("HAL" + json.dumps({
    "version": platform.python_version(),
    "packages": sysconfig.get_path("purelib"),
    "markers": {
        "python_version": ".".join(platform.python_version_tuple()[:2]),
        "python_full_version": platform.python_version(),
        "implementation_name": sys.implementation.name,
        "platform_python_implementation": platform.python_implementation(),
    },
}))
"""


@dataclasses.dataclass(frozen=True)
class Interpreter:
    """`packages` is the folder that it imports pure Python packages from; `markers` are the values
    of the markers in which two interpreters of a machine differ."""

    path: Path
    version: str
    packages: Path
    markers: Mapping[str, str]


def inspect(path: Path) -> Interpreter:
    """What an interpreter says of itself. Raises OSError or ValueError if it is none."""
    done = subprocess.run(
        [str(path), "-I", "-c", _CODE],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    _, found, text = done.stdout.partition("HAL{")
    if done.returncode or not found:
        raise ValueError((done.stderr.strip().splitlines() or ["it is no Python"])[-1])
    data = json.loads("{" + text)
    return Interpreter(path, data["version"], Path(data["packages"]), data["markers"])


def find_interpreter(wanted: str, asked: str = "") -> Interpreter:
    """The interpreter `asked` for, else this one, else the newest on the PATH, of a version that
    `wanted` admits. Raises UsageError if the one asked for does not fit, UnavailableError if none
    does."""
    specifier = SpecifierSet(wanted) & _HAL
    if asked:
        return _asked(asked, specifier)
    tried = []
    for path in _candidates():
        try:
            found = inspect(path)
        except (OSError, ValueError, KeyError, subprocess.TimeoutExpired):
            continue  # a shim of a version that is not installed, for one
        if specifier.contains(found.version, prereleases=True):
            return found
        tried.append(found.version)
    raise UnavailableError(
        f"it needs Python {specifier}, and found are {', '.join(dict.fromkeys(tried))}",
        next_step="install such a Python, or name one with --python PATH",
    )


def _asked(asked: str, specifier: SpecifierSet) -> Interpreter:
    where = shutil.which(asked)
    if where is None:
        raise UsageError(f"--python: there is no program {asked!r}", next_step="give its path")
    try:
        found = inspect(Path(where).absolute())
    except (OSError, ValueError, KeyError, subprocess.TimeoutExpired) as error:
        raise UsageError(f"--python: {asked} does not run as Python: {error}") from None
    if not specifier.contains(found.version, prereleases=True):
        raise UsageError(
            f"--python: {asked} is Python {found.version}, and {specifier} is needed",
            next_step="name another with --python PATH",
        )
    return found


def _candidates() -> Iterator[Path]:
    yield Path(sys.executable)
    for minor in range(_NEWEST, _OLDEST - 1, -1):
        where = shutil.which(f"python3.{minor}")
        if where is not None:
            yield Path(where).absolute()
