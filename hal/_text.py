"""Text that a terminal shows and does not obey."""

from __future__ import annotations

__all__ = ["printable"]


def printable(text: str, keep: str = "") -> str:
    """The text with a space for other white space and an escape for what does not print: names in
    models are untrusted. The characters in `keep` stay."""
    if text.isprintable():
        return text
    return "".join(
        c
        if c.isprintable() or c in keep
        else " "
        if c.isspace()
        else c.encode("unicode_escape").decode()
        for c in text
    )
