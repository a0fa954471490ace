"""Scores over what people use: nodes of real models, and the cells of each profile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hal.contract import CONTRIBUTED_DOMAIN, Cell, contract, profile_names
from hal.contract.profiles import load_profile
from hal_conformance.report import ProfileCells, Score
from hal_conformance.speed.usage import usage

__all__ = ["profile_scores", "usage_score"]


def usage_score(by_operator: Mapping[str, Sequence[bool]]) -> Score | None:
    """Of the zoo's nodes whose operators have single-operator cases here: those of operators of
    which all cases pass. None where no model uses any of them."""
    used = {k: usage().operators[k].nodes for k in by_operator if k in usage().operators}
    if not used:
        return None
    passed = sum(nodes for key, nodes in used.items() if all(by_operator[key]))
    return Score(passed, sum(used.values()))


def profile_scores(by_cell: Mapping[str, Sequence[bool]]) -> tuple[ProfileCells, ...]:
    """For each profile of which a cell was exercised: its cells that pass, of those exercised."""
    known = _cells()
    ran = {known[i]: all(passed) for i, passed in by_cell.items() if i in known}
    found = []
    for profile in map(load_profile, profile_names()):
        passed = [good for cell, good in ran.items() if profile.admits(cell)]
        if passed:
            whole = sum(map(profile.admits, known.values()))
            found.append(ProfileCells(profile.name, Score(sum(passed), len(passed), whole)))
    return tuple(found)


def _cells() -> dict[str, Cell]:
    table = contract()
    theirs = table.contributed.cells(domains=[CONTRIBUTED_DOMAIN])
    return {cell.id: cell for cell in (*table.cells(), *theirs)}
