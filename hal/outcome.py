"""What can come of a case: twelve outcomes, four classes."""

from __future__ import annotations

import enum

__all__ = ["Outcome", "OutcomeClass"]


class OutcomeClass(enum.Enum):
    """What a person sees first."""

    RIGHT = "right here"
    WRONG = "wrong"
    NOT_HERE = "not run here"
    BROKEN = "broken"
    OPEN = "open"
    """No verdict: the oracles disagree, or the case has not run."""


class Outcome(enum.Enum):
    """Exactly one of these comes of every device and case."""

    PASS = "pass"  # noqa: S105 (ruff takes the word for a password)
    WRONG = "wrong"
    """Value, dtype or shape differ."""
    UNSUPPORTED = "unsupported"
    """The backend said so."""
    SKEW = "skew"
    """Opset or IR newer than the backend accepts."""
    UNFED = "unfed"
    """The backend's API cannot take this input type."""
    FALLBACK = "fallback"
    """A node ran somewhere else."""
    ERROR = "error"
    CRASH = "crash"
    TIMEOUT = "timeout"
    MEMORY = "memory"
    DISPUTED = "disputed"
    """The oracles disagree, or the expected value is no function of the inputs."""
    NOT_RUN = "not-run"

    @property
    def outcome_class(self) -> OutcomeClass:
        return _CLASSES[self]


_CLASSES = {
    Outcome.PASS: OutcomeClass.RIGHT,
    Outcome.WRONG: OutcomeClass.WRONG,
    Outcome.UNSUPPORTED: OutcomeClass.NOT_HERE,
    Outcome.SKEW: OutcomeClass.NOT_HERE,
    Outcome.UNFED: OutcomeClass.NOT_HERE,
    Outcome.FALLBACK: OutcomeClass.NOT_HERE,
    Outcome.ERROR: OutcomeClass.BROKEN,
    Outcome.CRASH: OutcomeClass.BROKEN,
    Outcome.TIMEOUT: OutcomeClass.BROKEN,
    Outcome.MEMORY: OutcomeClass.BROKEN,
    Outcome.DISPUTED: OutcomeClass.OPEN,
    Outcome.NOT_RUN: OutcomeClass.OPEN,
}
