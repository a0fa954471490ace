"""What a rule is: the claim that some mutants are no wrong kernels, with the reason."""

from __future__ import annotations

import dataclasses

__all__ = ["CONVS", "POOLS", "READ", "Equivalence"]


@dataclasses.dataclass(frozen=True)
class Equivalence:
    """Why mutants give right results too: all of these operators (patterns over keys) with one of
    these faults (patterns over "<kind>/<fault>")."""

    reason: str
    operators: tuple[str, ...]
    faults: tuple[str, ...]


READ = (
    "NaN dropped/read as *",
    "infinity dropped/read as *",
    "too little precision/*",
    "wrong layout/* read by columns",
    "off by one/*: end of the * axis",
    "first of several/*: its first slice for all",
)
CONVS = ("Conv", "ConvInteger", "ConvTranspose", "QLinearConv")
POOLS = ("AveragePool", "LpPool", "MaxPool")
"""Operators that slide a window."""
