"""What share of the mutants each suite catches, and the document that says so."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from hal_conformance.mutants.selftest import SUITES, OperatorResult, Request, Verdict

__all__ = ["SCHEMA", "Caught", "Score", "document", "score_of"]

SCHEMA = "hal.selftest/1"


@dataclasses.dataclass(frozen=True)
class Caught:
    """How many of how many mutants."""

    caught: int
    total: int

    @property
    def percent(self) -> float:
        return 100 * self.caught / self.total if self.total else 100.0

    def __str__(self) -> str:
        return f"{self.caught}/{self.total} ({self.percent:.1f} %)"


@dataclasses.dataclass(frozen=True)
class Score:
    """By suite, and by kind of fault and suite; equivalent mutants are in no total."""

    suites: Mapping[str, Caught]
    kinds: Mapping[str, Mapping[str, Caught]]
    survivors: tuple[Verdict, ...]
    """The mutants that the suite `contract` does not catch."""
    equivalents: tuple[Verdict, ...]
    not_made: tuple[Verdict, ...]
    """The mutants that this engine could not be made into; they are in no total either."""
    false_alarms: Mapping[str, str]
    """The cases of the suite `contract` that call the correct engine wrong, with the reason."""
    judged: int
    """How many cases of it the correct engine passes."""
    in_float64: int
    """How many of these it ran in float64 too."""


def score_of(results: Iterable[OperatorResult]) -> Score:
    """The score of these operators."""
    listed = sorted(results, key=lambda r: r.operator)
    verdicts = [v for r in listed for v in r.verdicts]
    counted = [v for v in verdicts if not v.equivalent and not v.not_made]
    kinds = sorted({v.kind for v in counted})
    alarms: dict[str, str] = {}
    for result in listed:
        alarms.update((i, why) for i, why in result.control.wrong.items() if _own(i))
        alarms.update((i, f"in float64: {w}") for i, w in result.control.float64_wrong.items())
    return Score(
        suites={suite: _caught(counted, suite) for suite in SUITES},
        kinds={
            kind: {s: _caught([v for v in counted if v.kind == kind], s) for s in SUITES}
            for kind in kinds
        },
        survivors=tuple(v for v in counted if "contract" not in v.caught),
        equivalents=tuple(v for v in verdicts if v.equivalent and not v.not_made),
        not_made=tuple(v for v in verdicts if v.not_made),
        false_alarms=dict(sorted(alarms.items())),
        judged=sum(r.control.passed["contract"] for r in listed),
        in_float64=sum(r.control.float64 for r in listed),
    )


def document(request: Request, score: Score, *, complete: bool) -> dict[str, Any]:
    """The JSON form of a score."""
    return {
        **{suite: dataclasses.asdict(caught) for suite, caught in score.suites.items()},
        "kinds": {
            kind: {suite: dataclasses.asdict(caught) for suite, caught in suites.items()}
            for kind, suites in score.kinds.items()
        },
        "complete": complete,
        "device": request.device,
        "seed": request.seed,
        "types": request.types.value,
        "control": {
            "cases": score.judged,
            "in_float64": score.in_float64,
            "false_alarms": [{"case": i, "reason": w} for i, w in score.false_alarms.items()],
        },
        "survivors": [
            {"id": v.id, "onnx": v.caught.get("onnx", ""), "reached": v.reached}
            for v in score.survivors
        ],
        "equivalents": [{"id": v.id, "reason": v.equivalent} for v in score.equivalents],
        "not_made": [{"id": v.id, "reason": v.not_made} for v in score.not_made],
    }


def _own(case_id: str) -> bool:
    return case_id.startswith("contract/")


def _caught(verdicts: Iterable[Verdict], suite: str) -> Caught:
    listed = list(verdicts)
    return Caught(sum(suite in v.caught for v in listed), len(listed))
