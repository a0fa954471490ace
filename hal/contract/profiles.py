"""Profiles: named subsets of the contract, each a TOML file with a stated source."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import TYPE_CHECKING, Any, get_args

from hal._toml import toml_reader
from hal.contract.model import DEFAULT_DOMAIN, Cell
from hal.device import DeviceKind
from hal.errors import DataError, UsageError, did_you_mean
from hal.types import ElementType

if TYPE_CHECKING:
    from importlib.abc import Traversable

__all__ = [
    "Profile",
    "ProfileGroup",
    "load_profile",
    "parse_profile",
    "profile_for_kind",
    "profile_names",
]

_CONTAINERS = frozenset(("tensor", "sparse_tensor", "seq", "optional", "map"))


@dataclasses.dataclass(frozen=True)
class ProfileGroup:
    """Operators of a profile that share a source. `types` restricts their cells to these element
    types ("float", "int8"), alone or in containers; none: all types. `domains` takes in
    every operator of a domain."""

    source: str
    operators: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    types: frozenset[str] = frozenset()


@dataclasses.dataclass(frozen=True)
class Profile:
    """A named subset of the contract. `source` says where the choice of operators comes from;
    `kinds` are the device kinds whose headline is over this profile."""

    name: str
    title: str
    source: str
    groups: tuple[ProfileGroup, ...]
    kinds: tuple[DeviceKind, ...] = ()

    @functools.cached_property
    def operators(self) -> tuple[str, ...]:
        """The operator keys that the profile names, sorted; those of whole domains are not among
        them (see `Contract.operators_of`)."""
        return tuple(sorted({key for group in self.groups for key in group.operators}))

    @property
    def domains(self) -> tuple[str, ...]:
        """The domains that the profile takes whole."""
        return tuple(domain for group in self.groups for domain in group.domains)

    def has_operator(self, key: str, domain: str) -> bool:
        """Whether the operator is part of the profile."""
        return key in self._by_operator or domain in self._by_domain

    def admits(self, cell: Cell) -> bool:
        """Whether the cell is part of the profile."""
        group = self._by_operator.get(cell.operator) or self._by_domain.get(cell.domain)
        return group is not None and (not group.types or group.types >= set(_elements(cell.type)))

    @functools.cached_property
    def _by_operator(self) -> dict[str, ProfileGroup]:
        return {key: group for group in self.groups for key in group.operators}

    @functools.cached_property
    def _by_domain(self) -> dict[str, ProfileGroup]:
        return {domain: group for group in self.groups for domain in group.domains}


def profile_names() -> tuple[str, ...]:
    """Every profile's name, sorted."""
    return tuple(sorted(f.name[:-5] for f in _folder().iterdir() if f.name.endswith(".toml")))


@functools.cache
def load_profile(name: str) -> Profile:
    """A profile by name. Raises UsageError with a suggestion if there is none."""
    known = profile_names()
    if name not in known:
        raise UsageError(
            f"there is no profile {name!r} ({', '.join(known)}).{did_you_mean(name, known)}",
            next_step="hal ops --profiles",
        )
    file = _folder().joinpath(f"{name}.toml")
    return parse_profile(name, file.read_text(encoding="utf-8"))


def profile_for_kind(kind: DeviceKind) -> Profile:
    """The profile that a device of this kind is measured on in its headline."""
    for name in profile_names():
        profile = load_profile(name)
        if kind in profile.kinds:
            return profile
    raise UsageError(f"no profile claims devices of kind {kind!r}")


def parse_profile(name: str, text: str) -> Profile:
    """The profile that a TOML text describes. Raises DataError where it is not one."""
    toml = toml_reader()
    try:
        document = toml.loads(text)
    except ValueError as error:
        raise DataError(f"profile {name}: {error}") from None
    kinds = tuple(document.get("kinds", ()))
    for kind in kinds:
        if kind not in get_args(DeviceKind):
            raise DataError(f"profile {name}: kind {kind!r} is none of {get_args(DeviceKind)}")
    for field in ("title", "source"):
        if not document.get(field):
            raise DataError(f"profile {name} states no {field}")
    groups = tuple(_group(name, g, document) for g in document.get("group", ()))
    if not groups:
        raise DataError(f"profile {name} has no [[group]]")
    for group in groups:
        unknown = group.types - {e.onnx_name for e in ElementType}
        if unknown:
            raise DataError(f"profile {name}: no element type {', '.join(sorted(unknown))}")
    return Profile(name, document["title"], _one_line(document["source"]), groups, kinds)


def _group(name: str, entry: Mapping[str, Any], document: Mapping[str, Any]) -> ProfileGroup:
    unknown = set(entry) - {"source", "operators", "domains", "types"}
    if unknown:
        raise DataError(f"profile {name}: a group does not have {', '.join(sorted(unknown))}")
    types = entry.get("types", document.get("types", ()))
    return ProfileGroup(
        source=_one_line(entry.get("source", document["source"])),
        operators=tuple(entry.get("operators", ())),
        domains=tuple(domain or DEFAULT_DOMAIN for domain in entry.get("domains", ())),
        types=frozenset(types),
    )


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _elements(type_: str) -> Iterator[str]:
    """The element types in a type string."""
    return (word for word in re.findall(r"\w+", type_) if word not in _CONTAINERS)


def _folder() -> Traversable:
    return resources.files("hal.contract").joinpath("profiles")
