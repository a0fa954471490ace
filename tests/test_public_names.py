"""Every public module says what is public, and tests/public_names.txt holds the list.

`python tests/test_public_names.py` writes the list anew, for a change that is meant.
"""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path

import pytest

import hal

ROOT = Path(hal.__file__).parent
LIST = Path(__file__).with_name("public_names.txt")


def public_modules() -> list[str]:
    names = []
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if not any(part.startswith("_") for part in name.split(".")):
            names.append(name)
    return names


def listed() -> str:
    lines = [
        f"{name}: {' '.join(sorted(importlib.import_module(name).__all__))}\n"
        for name in public_modules()
    ]
    return "".join(lines)


@pytest.mark.parametrize("name", public_modules())
def test_all_is_right(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__all__, f"{name} has an empty __all__"
    assert len(set(module.__all__)) == len(module.__all__)
    missing = [n for n in module.__all__ if not hasattr(module, n)]
    assert not missing
    defined = {
        n
        for n, value in vars(module).items()
        if (inspect.isclass(value) or inspect.isfunction(value))
        and value.__module__ == name
        and not n.startswith("_")
        and not hasattr(value, "hal_spec")  # hooks are documented, not imported
    }
    assert defined <= set(module.__all__), "public by its name, but not in __all__"


def test_the_list_is_held() -> None:
    assert listed() == LIST.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", public_modules())
def test_public_module_has_a_docstring(name: str) -> None:
    assert inspect.getdoc(importlib.import_module(name))


if __name__ == "__main__":
    LIST.write_text(listed(), encoding="utf-8")
