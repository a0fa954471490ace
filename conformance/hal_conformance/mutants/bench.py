"""What judges mutants: an operator's cases that the correct engine passes, and the verdicts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from hal import BackendSpec, Outcome
from hal_conformance.case import Case
from hal_conformance.judge import run_case
from hal_conformance.mutants.engine import Engine
from hal_conformance.mutants.mutant import Mutant, MutantBackend, Prepared, prepare

__all__ = ["SUITES", "Bench", "Control", "OperatorResult", "Verdict"]

SUITES = ("contract", "onnx")


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What came of one mutant. `caught` has a case of each suite that noticed it, by suite;
    `reached` says whether any case had another result than the correct one."""

    id: str
    operator: str
    kind: str
    fault: str
    type: str
    only: str
    caught: Mapping[str, str]
    reached: bool
    not_made: str = ""
    """Why there is no such kernel to judge: the correct engine runs nothing of its type, or refuses
    whatever the fault would make of its calls."""


@dataclasses.dataclass(frozen=True)
class Control:
    """The correct engine on the same cases: how many passed by suite, in its own arithmetic and in
    float64, and the ids of those called wrong, with the reason."""

    passed: Mapping[str, int]
    wrong: Mapping[str, str]
    float64: int
    float64_wrong: Mapping[str, str]
    left_out: Mapping[str, str]
    """Cases that the engine does not pass for another reason, and which judge no mutant."""


@dataclasses.dataclass(frozen=True)
class OperatorResult:
    """An operator's mutants and its control."""

    operator: str
    verdicts: tuple[Verdict, ...]
    control: Control


class Bench:
    """The cases that a mutant of one operator is judged on: those that the correct engine passes.

    `note` is a file that says what is being run, for whoever finds the process dead; `died` has
    these notes of processes before this one: a case that ends its process is not passed, and
    whatever was wrong with the kernel has been noticed. Public for tests: `verdict` judges any
    mutant.
    """

    def __init__(
        self,
        engine: Engine,
        cases: Sequence[Case],
        died: frozenset[str] = frozenset(),
        note: Path | None = None,
    ) -> None:
        self.engine = engine
        self.died, self.note = died, note
        self.prepared: dict[str, Prepared] = {}
        self.cases: list[Case] = []
        self.kernels: dict[str, frozenset[tuple[str, str]]] = {}
        """The kernels that each case calls, as operators and types."""
        passed = dict.fromkeys(SUITES, 0)
        wrong: dict[str, str] = {}
        left_out: dict[str, str] = {}
        for case in cases:
            known = prepare(case.model)
            if known.steps is None:
                left_out[case.id] = "the model cannot be run node by node"
                continue
            self.prepared[case.model.fingerprint] = known
            backend = MutantBackend(None, engine, self.prepared)
            result = self._run(case, backend)
            self.kernels[case.id] = frozenset(backend.kernels)
            if result is None:
                passed[case.suite] += 1
                self.cases.append(case)
            elif result[0] is Outcome.WRONG:
                wrong[case.id] = result[1]
            else:
                left_out[case.id] = f"{result[0].value}: {result[1]}"
        self.control = Control(passed, wrong, *self._in_float64(), left_out)

    def verdict(self, mutant: Mutant) -> Verdict:
        """Judge a mutant: by a case of each suite that notices it, if there is one."""
        caught: dict[str, str] = {}
        reached = made = False
        refused = ""
        for suite in SUITES:
            backend = MutantBackend(mutant, self.engine, self.prepared)
            for place, case in enumerate(self.cases):
                if case.suite != suite or not self._calls(case, mutant):
                    continue
                if self._run(case, backend) is not None:
                    caught[suite] = case.id
                    # What notices one fault often notices the next one.
                    self.cases.insert(0, self.cases.pop(place))
                    break
            reached = reached or backend.changed > 0
            made = made or backend.made > 0
            refused = refused or backend.refused
        missing = refused if made and refused and not (reached or caught) else ""
        if not made:
            missing = refused or "the engine passes no case of its type"
        return Verdict(
            id=mutant.id,
            operator=mutant.operator,
            kind=mutant.kind,
            fault=mutant.fault.name,
            type=mutant.type,
            only=mutant.only,
            caught=caught,
            reached=reached,
            not_made=missing,
        )

    def _calls(self, case: Case, mutant: Mutant) -> bool:
        """Whether the case calls the mutated kernel with a type that has the fault."""
        return any(
            key == mutant.operator
            and (not mutant.type or type_ == mutant.type)
            and mutant.fault.types(type_)
            for key, type_ in self.kernels[case.id]
        )

    def _in_float64(self) -> tuple[int, dict[str, str]]:
        count, wrong = 0, {}
        for case in (c for c in self.cases if c.suite == "contract"):
            backend = MutantBackend(None, self.engine, self.prepared, widened=True)
            result = self._run(case, backend)
            if backend.calls:
                count += 1
                if result is not None:
                    wrong[case.id] = f"{result[0].value}: {result[1]}"
        return count, wrong

    def _run(self, case: Case, backend: MutantBackend) -> tuple[Outcome, str] | None:
        """None for a pass."""
        running = f"{backend.mutant.id if backend.mutant else ''} {case.id}"
        if running in self.died:
            return Outcome.CRASH, "the process died"
        if self.note is not None:
            self.note.write_text(running, encoding="utf-8")
        result = run_case(case, self.engine.device, _SPEC, backend, {})
        return None if result.outcome is Outcome.PASS else (result.outcome, result.reason)


_SPEC = BackendSpec("mutant", lambda: None, "a correct engine with one fault")  # type: ignore[arg-type,return-value]  # never made by its factory
