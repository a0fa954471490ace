"""Mutants that are no wrong kernels: each with the reason. They are listed and not counted."""

from __future__ import annotations

import fnmatch

from hal_conformance.mutants.bench import Verdict
from hal_conformance.mutants.equivalent import (
    bounded,
    learned,
    numbers,
    operands,
    settings,
    shapes,
)
from hal_conformance.mutants.equivalent.rule import Equivalence

__all__ = ["EQUIVALENT", "Equivalence", "reason_for"]

EQUIVALENT: tuple[Equivalence, ...] = (
    *operands.RULES,
    *shapes.RULES,
    *numbers.RULES,
    *settings.RULES,
    *learned.RULES,
    *bounded.RULES,
)
"""A row is a claim: a case that calls one of its mutants wrong refutes it, and the self-test says
so."""


def reason_for(verdict: Verdict) -> str:
    """Why a mutant is as right as the correct kernel; "" if it is not."""
    fault = f"{verdict.kind}/{verdict.fault}"
    for entry in EQUIVALENT:
        known = any(fnmatch.fnmatchcase(verdict.operator, p) for p in entry.operators)
        if known and any(fnmatch.fnmatchcase(fault, p) for p in entry.faults):
            return entry.reason
    return ""
