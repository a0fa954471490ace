"""The one place that says which TOML reader there is."""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["toml_reader"]


def toml_reader() -> Any:
    """The module with `loads` and `TOMLDecodeError`."""
    # tomllib came with Python 3.11; before it, hal-core depends on tomli.
    try:
        return importlib.import_module("tomllib")
    except ImportError:
        return importlib.import_module("tomli")
