"""Options that several commands take, each with one name and one help."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from hal.backend import Option
from hal.cli.completion import complete_profile
from hal.errors import UsageError

__all__ = ["CompilerOption", "PatternOption", "ProfileOption", "parse_options"]

ProfileOption = Annotated[
    str,
    typer.Option(
        help="Only cases whose operators are all in this profile.",
        autocompletion=complete_profile,
    ),
]
PatternOption = Annotated[
    list[str] | None,
    typer.Option(
        "-k", metavar="PATTERN", help="Only cases whose id contains this, or fits this glob."
    ),
]
CompilerOption = Annotated[
    list[str] | None,
    typer.Option("--option", metavar="KEY=VALUE", help="An option of the backend's compiler."),
]


def parse_options(texts: Sequence[str]) -> dict[str, Option]:
    """Options of the form KEY=VALUE. Raises UsageError for another form."""
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
