"""docs/exit-codes.md, the tree at the top of hal/errors.py and the classes say the same."""

from __future__ import annotations

import re
from pathlib import Path

from hal import errors
from hal.cli import _main

DOCS = Path(__file__).parents[1] / "docs" / "exit-codes.md"
CLASSES = {
    name: value
    for name in errors.__all__
    if isinstance(value := getattr(errors, name), type) and issubclass(value, errors.HalError)
}


def documented() -> dict[int, set[str]]:
    rows = re.findall(r"^\| (\d+) \| .* \| (.*?) ?\|$", DOCS.read_text(encoding="utf-8"), re.M)
    return {int(code): set(re.findall(r"`(\w+)`", names)) for code, names in rows}


def test_every_error_stands_at_its_code() -> None:
    codes: dict[int, set[str]] = {0: set(), 70: set(), 130: set(), 141: set()}
    for name, cls in CLASSES.items():
        codes.setdefault(cls.exit_code, set()).add(name)
    assert documented() == codes


def test_codes_of_main_are_documented() -> None:
    assert {_main.EXIT_BUG, _main.EXIT_INTERRUPTED, _main.EXIT_PIPE} <= documented().keys()


def test_tree_in_the_docstring_is_the_tree_of_classes() -> None:
    lines = re.findall(r"^[│├└─ ]*(\w+Error)\b.*?(?:exit (\d+))?$", errors.__doc__ or "", re.M)
    assert sorted(name for name, _ in lines) == sorted(CLASSES)
    for name, code in lines:
        if code:
            assert CLASSES[name].exit_code == int(code)
