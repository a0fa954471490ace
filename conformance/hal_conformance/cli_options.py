"""Options that several commands take, each with one name and one help."""

from __future__ import annotations

from typing import Annotated

import typer

from hal.cli.completion import complete_profile

__all__ = ["CompilerOption", "PatternOption", "ProfileOption"]

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
