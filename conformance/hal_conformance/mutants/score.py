"""What share of the mutants each suite catches, and the document that says so.

Two figures. A *kernel fault* is one operator's kernel with one fault, in all types that can have
it: caught if any case of any of these types notices. A *fault and type* is the same fault in the
kernel of one type alone: caught only by a case of that type. Faults that belong to one type by
their nature (sums in a narrower type, what wraps at its ends) count in both.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from hal_conformance.mutants.bench import SUITES, OperatorResult, Verdict
from hal_conformance.mutants.equivalent import reason_for
from hal_conformance.mutants.selftest import Request

__all__ = ["SCHEMA", "Caught", "Count", "Score", "document", "score_of"]

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


Count = Mapping[str, Caught]
"""What each suite caught."""


@dataclasses.dataclass(frozen=True)
class Score:
    """What each suite caught; equivalent mutants and those not made are in no total."""

    suites: Count
    """Of the kernel faults."""
    kinds: Mapping[str, Count]
    """Of these, by kind of fault."""
    by_type: Count
    """Of the faults and types."""
    kinds_by_type: Mapping[str, Count]
    survivors: tuple[Verdict, ...]
    """The mutants that the suite `contract` does not catch, of one type too."""
    equivalents: Mapping[str, str]
    """The mutants that are as right as the correct kernel, with the reason."""
    contradicted: Mapping[str, str]
    """Of these, the ones that a case calls wrong all the same, with the case."""
    not_made: tuple[Verdict, ...]
    """The mutants that this engine could not be made into; they are in no total either."""
    false_alarms: Mapping[str, str]
    """The cases of the suite `contract` that call the correct engine wrong, with the reason."""
    judged: int
    """How many cases of it the correct engine passes."""
    in_float64: int
    """How many of these it ran in float64 too."""

    @property
    def sound(self) -> bool:
        """Whether nothing right was called wrong, and nothing wrong right."""
        return not self.false_alarms and not self.contradicted


def score_of(results: Iterable[OperatorResult]) -> Score:
    """The score of these operators."""
    listed = sorted(results, key=lambda r: r.operator)
    verdicts = [v for r in listed for v in r.verdicts]
    made = [v for v in verdicts if not v.not_made]
    equivalents = {v.id: why for v in made if (why := reason_for(v))}
    counted = [v for v in made if v.id not in equivalents]
    kernels = [v for v in counted if not v.type]
    typed = [v for v in counted if v.type or v.only]
    alarms: dict[str, str] = {}
    for result in listed:
        alarms.update((i, why) for i, why in result.control.wrong.items() if _own(i))
        alarms.update((i, f"in float64: {w}") for i, w in result.control.float64_wrong.items())
    return Score(
        suites=_caught(kernels),
        kinds=_by_kind(kernels),
        by_type=_caught(typed),
        kinds_by_type=_by_kind(typed),
        survivors=tuple(v for v in counted if "contract" not in v.caught),
        equivalents=equivalents,
        contradicted={
            v.id: next(iter(v.caught.values())) for v in made if v.id in equivalents and v.caught
        },
        not_made=tuple(v for v in verdicts if v.not_made),
        false_alarms=dict(sorted(alarms.items())),
        judged=sum(r.control.passed["contract"] for r in listed),
        in_float64=sum(r.control.float64 for r in listed),
    )


def document(request: Request, score: Score, *, complete: bool) -> dict[str, Any]:
    """The JSON form of a score."""
    return {
        **_plain(score.suites),
        "kinds": {kind: _plain(count) for kind, count in score.kinds.items()},
        "by_type": {
            **_plain(score.by_type),
            "kinds": {kind: _plain(count) for kind, count in score.kinds_by_type.items()},
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
        "equivalents": [{"id": i, "reason": why} for i, why in score.equivalents.items()],
        "contradicted": [{"id": i, "case": case} for i, case in score.contradicted.items()],
        "not_made": [{"id": v.id, "reason": v.not_made} for v in score.not_made],
    }


def _own(case_id: str) -> bool:
    return case_id.startswith("contract/")


def _plain(count: Count) -> dict[str, Any]:
    return {suite: dataclasses.asdict(caught) for suite, caught in count.items()}


def _by_kind(verdicts: Iterable[Verdict]) -> dict[str, Count]:
    listed = list(verdicts)
    kinds = sorted({v.kind for v in listed})
    return {kind: _caught(v for v in listed if v.kind == kind) for kind in kinds}


def _caught(verdicts: Iterable[Verdict]) -> dict[str, Caught]:
    listed = list(verdicts)
    return {s: Caught(sum(s in v.caught for v in listed), len(listed)) for s in SUITES}
