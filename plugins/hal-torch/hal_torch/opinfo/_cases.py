"""The cases of the suites `torch` and `torch-all`, and the parts that they are scored in."""

from __future__ import annotations

import fnmatch
import importlib
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from typing import Any

from hal.errors import BrokenError
from hal.suite import SuiteCase, SuiteCases
from hal_torch.opinfo._catalogue import OpFacts, catalogue
from hal_torch.opinfo.names import DIRECTIONS, case_id

__all__ = ["all_cases", "family_of", "float32_cases", "make_cases", "reason_left_out"]

_FLOAT32 = "float32"


def float32_cases() -> SuiteCases:
    """The cases of `torch`. Raises as `catalogue` does."""
    return make_cases(*catalogue(), wanted=lambda dtype: dtype == _FLOAT32)


def all_cases() -> SuiteCases:
    """The cases of `torch-all`. Raises as `catalogue` does."""
    return make_cases(*catalogue(), wanted=lambda dtype: True)


def make_cases(
    version: str, facts: Sequence[OpFacts], *, wanted: Callable[[str], bool]
) -> SuiteCases:
    """The cases over the dtypes that are `wanted`: every forward case, then every backward one, in
    the database's order."""
    left_out = {op.name: reason for op in facts if (reason := reason_left_out(op.name))}
    cases: list[SuiteCase] = []
    others: list[str] = []
    for direction in DIRECTIONS:
        for op in facts:
            if op.name in left_out:
                continue
            groups = _groups(op, direction)
            for dtype in op.dtypes if direction == "forward" else op.backward:
                ident = case_id(direction, op.name, dtype)
                if wanted(dtype):
                    cases.append(SuiteCase(ident, op.name, groups))
                else:
                    others.append(ident)
    return SuiteCases(version, tuple(cases), tuple(others), left_out)


def reason_left_out(name: str) -> str:
    """Why an OpInfo is left out, "" if it is not."""
    for entry in _table("left_out.toml")["left_out"]:
        if fnmatch.fnmatchcase(name, entry["pattern"]):
            return str(entry["reason"])
    return ""


def family_of(name: str, kind: str) -> str:
    """The family of an OpInfo by its name and class."""
    for entry in _table("families.toml")["family"]:
        patterns = entry.get("patterns", ())
        if kind in entry.get("kinds", ()) or any(fnmatch.fnmatchcase(name, p) for p in patterns):
            return str(entry["name"])
    raise BrokenError(f"families.toml has no family for {name!r}")


def _groups(op: OpFacts, direction: str) -> tuple[str, ...]:
    core = (f"{direction}, core ATen",) if op.core else ()
    return (direction, *core, f"{direction}, {family_of(op.name, op.kind)}")


_tables: dict[str, Mapping[str, Any]] = {}


def _table(name: str) -> Mapping[str, Any]:
    if name not in _tables:
        # tomllib came with Python 3.11; before it, hal-core depends on tomli.
        try:
            toml = importlib.import_module("tomllib")
        except ModuleNotFoundError:
            toml = importlib.import_module("tomli")
        text = (resources.files("hal_torch.opinfo") / name).read_text(encoding="utf-8")
        _tables[name] = toml.loads(text)
    return _tables[name]
