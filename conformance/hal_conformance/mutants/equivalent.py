"""Mutants that are no wrong kernels: each with the reason. They are listed and not counted."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping

from hal_conformance.mutants.mutant import Mutant

__all__ = ["EQUIVALENT", "reason_for"]

EQUIVALENT: Mapping[str, str] = {}
"""Patterns over mutants' ids, and why what they fit gives right results too."""


def reason_for(mutant: Mutant) -> str:
    """Why a mutant that nothing caught is as right as the correct kernel; "" if it is not."""
    for pattern, reason in EQUIVALENT.items():
        if fnmatch.fnmatchcase(mutant.id, pattern):
            return reason
    return ""
