"""Compile options as they are typed."""

from __future__ import annotations

from collections.abc import Sequence

from hal.backend import Option
from hal.errors import UsageError

__all__ = ["parse_options"]


def parse_options(texts: Sequence[str]) -> dict[str, Option]:
    """Options of the form KEY=VALUE: "true" and "false" are bool, numbers int or float, the rest
    text. Raises UsageError for another form."""
    options: dict[str, Option] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise UsageError(f"{text!r} is no option: expected KEY=VALUE, e.g. precision=float32")
        options[key] = _option(value)
    return options


def _option(value: str) -> Option:
    if value in ("true", "false"):
        return value == "true"
    for convert in (int, float):
        try:
            return convert(value)
        except ValueError:
            continue
    return value
