"""The hooks: their documentation, and that HAL's markers are pluggy's."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pluggy
import pytest

from hal import hookspecs

DOCS = Path(__file__).parents[1] / "docs" / "hooks.md"
HOOKS = {n: f for n, f in vars(hookspecs).items() if hasattr(f, "hal_spec")}


def test_there_are_hooks() -> None:
    assert "hal_backends" in HOOKS


@pytest.mark.parametrize("name", HOOKS)
def test_hook_has_a_heading_with_its_signature(name: str) -> None:
    headings = re.findall(r"^## `(.*)`$", DOCS.read_text(encoding="utf-8"), flags=re.M)
    assert f"{name}{inspect.signature(HOOKS[name])}".replace("'", "") in headings


def test_no_heading_is_of_a_hook_that_is_gone() -> None:
    headings = re.findall(r"^## `(\w+)\(", DOCS.read_text(encoding="utf-8"), flags=re.M)
    assert sorted(headings) == sorted(HOOKS)


@pytest.mark.parametrize("name", HOOKS)
def test_hook_says_when_it_is_called(name: str) -> None:
    assert re.match(r"Called .*\. Returns .*\.", inspect.getdoc(HOOKS[name]) or "", flags=re.S)


def test_docs_name_the_seam_and_the_group() -> None:
    text = DOCS.read_text(encoding="utf-8")
    assert f"HAL_SEAM = {hookspecs.SEAM_VERSION}" in text
    assert f"[project.entry-points.{hookspecs.ENTRY_POINT_GROUP}]" in text


def test_hookimpl_is_pluggys() -> None:
    def ours() -> None: ...

    def theirs() -> None: ...

    hookspecs.hookimpl(ours)
    pluggy.HookimplMarker(hookspecs.PROJECT)(theirs)
    assert vars(ours) == vars(theirs)


def test_hookspec_is_pluggys() -> None:
    def theirs() -> None: ...

    pluggy.HookspecMarker(hookspecs.PROJECT)(theirs)
    ours: dict[str, Callable[..., Any]] = vars(HOOKS["hal_backends"])
    assert ours == vars(theirs)
