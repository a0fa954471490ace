"""The ids of the suite's cases: "torch/<direction>/<OpInfo>-<dtype>"."""

from __future__ import annotations

import re

from hal.errors import UsageError

__all__ = ["DIRECTIONS", "case_id", "split_id"]

DIRECTIONS = ("forward", "backward")
_ID = re.compile(r"torch/(forward|backward)/(.+)-(\w+)")


def case_id(direction: str, operator: str, dtype: str) -> str:
    """ "torch/forward/add-float32"."""
    return f"torch/{direction}/{operator}-{dtype}"


def split_id(text: str) -> tuple[str, str, str]:
    """Direction, OpInfo and dtype of an id. Raises UsageError for what is none."""
    match = _ID.fullmatch(text)
    if match is None:
        raise UsageError(f"{text!r} is no case of the suite torch")
    return match[1], match[2], match[3]
