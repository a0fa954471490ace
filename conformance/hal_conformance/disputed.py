"""The list of cases whose expected outputs cannot be taken as they are, each with its reason."""

from __future__ import annotations

import dataclasses
import fnmatch
import hashlib
from importlib import resources
from typing import Literal, get_args

from hal._toml import toml_reader
from hal.errors import DataError

__all__ = ["Disputed", "DisputedCase", "disputed_digest", "load_disputed", "parse_disputed"]

Treatment = Literal["disputed", "statistics"]


@dataclasses.dataclass(frozen=True)
class DisputedCase:
    """One entry: a glob over case ids, what is done with the cases it fits, and why.

    `judge` is "disputed" where independent oracles disagree about the expected output or where it
    is no function of the inputs, and "statistics" where it is random. `found` is the evidence: what
    each oracle gave, and its version.
    """

    pattern: str
    judge: Treatment
    reason: str
    found: str


@dataclasses.dataclass(frozen=True)
class Disputed:
    """All entries of one list; `digest` changes with the text of the list."""

    entries: tuple[DisputedCase, ...]
    digest: str

    def find(self, case_id: str) -> DisputedCase | None:
        """The first entry that fits the id."""
        fitting = (e for e in self.entries if fnmatch.fnmatchcase(case_id, e.pattern))
        return next(fitting, None)


def load_disputed() -> Disputed:
    """The list that is part of this package."""
    return parse_disputed(_text())


def disputed_digest() -> str:
    """`load_disputed().digest`, without parsing the list."""
    return _digest(_text())


def parse_disputed(text: str) -> Disputed:
    """The list that a TOML text holds. Raises DataError where it is not one."""
    toml = toml_reader()
    try:
        entries = tuple(DisputedCase(**entry) for entry in toml.loads(text)["case"])
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"disputed.toml: {error}") from None
    for entry in entries:
        if entry.judge not in get_args(Treatment):
            raise DataError(
                f"disputed.toml: {entry.pattern}: judge {entry.judge!r} is none of "
                f"{get_args(Treatment)}"
            )
    return Disputed(entries, _digest(text))


def _text() -> str:
    file = resources.files("hal_conformance").joinpath("disputed.toml")
    return file.read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
