"""A plugin's lock file: one pinned distribution a line."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from hal.errors import BrokenError

__all__ = ["Pin", "read_lock"]


@dataclasses.dataclass(frozen=True)
class Pin:
    """One distribution, its name normalised, in one version."""

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name}=={self.version}"


def read_lock(path: Path, marker_values: Mapping[str, str]) -> list[Pin]:
    """The pins of a lock file that hold for an interpreter, in the file's order.

    `marker_values` are what that interpreter says of itself (`python_version` and its kind). Raises
    BrokenError, with the line, for one that pins nothing or is no requirement at all.
    """
    values = {**{k: str(v) for k, v in default_environment().items()}, **marker_values, "extra": ""}
    pins: dict[str, Pin] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        text = line.partition(" #")[0].strip()
        if not text or text.startswith("#"):
            continue
        try:
            requirement = Requirement(text)
        except InvalidRequirement as error:
            raise _wrong(path, number, f"{text!r} is no requirement: {error}") from None
        version = _pinned(requirement)
        if not version:
            raise _wrong(path, number, f"{text!r} pins no version, as in name==1.2.3")
        if requirement.marker is not None and not requirement.marker.evaluate(values):
            continue
        name = str(canonicalize_name(requirement.name))
        if name in pins:
            raise _wrong(path, number, f"{name} is pinned twice")
        pins[name] = Pin(name, version)
    return list(pins.values())


def _pinned(requirement: Requirement) -> str:
    if requirement.url or requirement.extras or len(requirement.specifier) != 1:
        return ""
    (specifier,) = requirement.specifier
    exact = specifier.operator == "==" and not specifier.version.endswith("*")
    return specifier.version if exact else ""


def _wrong(path: Path, number: int, reason: str) -> BrokenError:
    return BrokenError(
        f"{path.name}, line {number}: {reason}", next_step="tell the plugin's author"
    )
