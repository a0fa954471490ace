"""Packages whose modules register something, as a family of operators its generators."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable

__all__ = ["import_modules"]


def import_modules(package: str, path: Iterable[str]) -> None:
    """Import every module of a package, by name. A package does so when it is imported itself:
    what its modules register is in the same order whichever of them is wanted first."""
    for module in pkgutil.iter_modules(path):
        importlib.import_module(f"{package}.{module.name}")
