"""The table of vendors, read from vendors.toml."""

from __future__ import annotations

import dataclasses
import enum
import functools
from collections.abc import Iterable
from importlib import resources
from typing import Any

from hal._toml import toml_reader

__all__ = ["Need", "Route", "Vendor", "Verified", "find_vendor", "markdown", "vendors"]


class Verified(str, enum.Enum):
    """How far HAL has been seen to work with a vendor's devices, best first."""

    HARDWARE = "on hardware"
    EMULATOR = "in the vendor's emulator"
    SIMULATED = "on a simulated PyTorch device"
    NOT_YET = "not yet"


@dataclasses.dataclass(frozen=True)
class Need:
    """One thing that must be on the machine. Any one of what is named is enough to find it:
    `paths` (globs), `commands` on the PATH, or shared `libraries` (without "lib" and suffix).
    `step` brings it."""

    what: str
    step: str
    paths: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Route:
    """One way to a vendor's devices: `devices` is the id under HAL ("torch:npu:N"), `plugin` the
    distribution that provides it, `packages` the distributions it needs and `install` the command
    that brings them; `environment` is the one of its own that it needs (`hal env`). `plugin` is ""
    where HAL has no way yet; `note` then says what there is."""

    devices: str
    plugin: str
    verified: Verified
    packages: tuple[str, ...] = ()
    install: str = ""
    needs: tuple[Need, ...] = ()
    note: str = ""
    environment: str = ""


@dataclasses.dataclass(frozen=True)
class Vendor:
    """A vendor's family of devices. `needs` (drivers, device files) hold for every route."""

    name: str
    title: str
    aliases: tuple[str, ...]
    routes: tuple[Route, ...]
    needs: tuple[Need, ...] = ()


@functools.cache
def vendors() -> tuple[Vendor, ...]:
    """Every vendor, in the table's order."""
    text = resources.files(__package__).joinpath("vendors.toml").read_text(encoding="utf-8")
    return tuple(_vendor(name, row) for name, row in toml_reader().loads(text).items())


def find_vendor(name: str) -> Vendor | None:
    """The vendor of that name or alias, upper and lower case alike; None if there is none."""
    return next((v for v in vendors() if name.lower() in (v.name, *v.aliases)), None)


def markdown() -> str:
    """The table as docs/vendors.md holds it."""
    lines = [
        "| vendor | `hal doctor` | device under HAL | plugin | packages | drivers | verified |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for vendor in vendors():
        for route in vendor.routes:
            own = [f"hal env create {route.environment}"] if route.environment else []
            needs = "; ".join(need.what for need in (*vendor.needs, *route.needs))
            cells = (
                vendor.title,
                f"`{vendor.name}`",
                _code(route.devices) or "none yet",
                route.plugin or "none yet",
                ", ".join(f"`{p}`" for p in (*route.packages, *own)),
                needs,
                route.verified.value + (f" ({route.note})" if route.note else ""),
            )
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _code(text: str) -> str:
    return ", ".join(f"`{part.strip()}`" for part in text.split(",") if part)


def _vendor(name: str, row: dict[str, Any]) -> Vendor:
    return Vendor(
        name,
        row["title"],
        tuple(row.get("aliases", ())),
        tuple(_route(r) for r in row["routes"]),
        _needs(row),
    )


def _route(row: dict[str, Any]) -> Route:
    return Route(
        row["devices"],
        row["plugin"],
        Verified(row["verified"]),
        tuple(row.get("packages", ())),
        row.get("install", ""),
        _needs(row),
        row.get("note", ""),
        row.get("environment", ""),
    )


def _needs(row: dict[str, Any]) -> tuple[Need, ...]:
    return tuple(_need(need) for need in row.get("needs", ()))


def _need(row: dict[str, Any]) -> Need:
    lists: dict[str, Iterable[str]] = {
        key: row[key] for key in ("paths", "commands", "libraries") if key in row
    }
    return Need(row["what"], row["step"], **{key: tuple(v) for key, v in lists.items()})
