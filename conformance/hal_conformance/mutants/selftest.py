"""The self-test: every mutant judged on the cases of both suites."""

from __future__ import annotations

import dataclasses
import enum
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from hal.backend import Option
from hal.contract import STABLE_DOMAINS, Operator, contract
from hal.device import backend_of
from hal.errors import UsageError, did_you_mean
from hal.plugins import load_plugins
from hal_conformance.case import Case, Suite, load_suite
from hal_conformance.contract.draft import main_constraint
from hal_conformance.expectations import Expectation, Expectations
from hal_conformance.mutants.bench import SUITES, Bench, Control, OperatorResult
from hal_conformance.mutants.engine import Engine
from hal_conformance.mutants.fault import faults_of, kinds
from hal_conformance.mutants.kept import Kept
from hal_conformance.mutants.mutant import Mutant
from hal_conformance.mutants.processes import Processes

__all__ = [
    "Request",
    "TypeChoice",
    "mutants_of",
    "operators_of",
    "selftest",
    "without_bugs",
]


class TypeChoice(str, enum.Enum):
    """Beside kernels that are wrong in all types: those wrong in one type alone, for each type, for
    one that the seed draws for each fault, or for none."""

    ALL = "all"
    ONE = "one"
    NONE = "none"


@dataclasses.dataclass(frozen=True)
class Request:
    """What is tested: on which correct engine, which operators and kinds ("" and () for all)."""

    device: str = "torch:cpu"
    operators: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    options: Mapping[str, Option] = dataclasses.field(default_factory=dict)
    types: TypeChoice = TypeChoice.ONE
    seed: int = 0


def operators_of(request: Request) -> list[Operator]:
    """The operators asked for. Raises UsageError for an unknown operator or kind."""
    for kind in request.kinds:
        if kind not in kinds():
            raise UsageError(
                f"there is no kind of fault {kind!r}.{did_you_mean(kind, kinds())}",
                next_step=f"the kinds are: {', '.join(kinds())}",
            )
    if request.operators:
        return [contract().latest(key) for key in dict.fromkeys(request.operators)]
    return [op for op in contract().operators if op.domain in STABLE_DOMAINS]


def mutants_of(operator: Operator, request: Request) -> Iterator[Mutant]:
    """The mutants of an operator: each fault in the kernels of all types that can have it, and in
    that of a type alone (see `TypeChoice`)."""
    constraint = main_constraint(operator)
    types = constraint.types if constraint else ("",)
    for kind, fault in faults_of(operator):
        if request.kinds and kind not in request.kinds:
            continue
        fitting = [t for t in types if fault.types(t)]
        if not fitting:
            continue
        every = Mutant(operator.key, kind, fault, only=fitting[0] if len(fitting) == 1 else "")
        yield every
        if len(fitting) > 1:
            for type_ in _chosen(fitting, f"{request.seed} {every.id}", request.types):
                yield dataclasses.replace(every, type=type_)


def _chosen(types: Sequence[str], key: str, choice: TypeChoice) -> Sequence[str]:
    if choice is TypeChoice.ONE:
        drawn = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")
        return [types[drawn % len(types)]]
    return types if choice is TypeChoice.ALL else ()


def selftest(request: Request, jobs: int = 1, *, resume: bool = False) -> Iterator[OperatorResult]:
    """The results of each operator, as they come; `resume`: those that an earlier run of the same
    request found are taken up where nothing that they follow from has changed. Raises UsageError
    for an unknown device, operator or kind, and what the suites raise where they cannot be made."""
    operators = operators_of(request)
    sizes = {op.key: 0 for op in operators}
    for name in SUITES:  # made here, so that not every process makes them
        for facts in load_suite(name):
            for key in facts.operators:
                if key in sizes:
                    sizes[key] += 1
    order = sorted(sizes, key=lambda key: -sizes[key])
    with Processes(_Worker, (request, resume), min(jobs, len(order))) as processes:
        yield from processes.judge(order)


def without_bugs(control: Control, known: Iterable[Expectation]) -> Control:
    """The control without alarms on what the engine's own file of expectations says is wrong."""
    wrong, left_out = dict(control.wrong), dict(control.left_out)
    for line in known:
        for case_id in line.matches(wrong):
            left_out[case_id] = f"a known bug: {line.reason}"
            del wrong[case_id]
    return dataclasses.replace(control, wrong=wrong, left_out=left_out)


class _Worker:
    """Judges operators, one after the other, in one process."""

    def __init__(self, request: Request, resume: bool) -> None:
        self.request, self.resume = request, resume
        self.registry = load_plugins()
        device = self.registry.find_device(request.device)
        name = backend_of(request.device)
        spec = self.registry.backends[name].spec
        options = {**spec.conformance_options, **request.options}
        backend = self.registry.backend(name)
        self.engine = Engine(backend, device, options)
        self.kept = Kept(repr(dataclasses.replace(request, operators=())), device, backend)
        module = self.registry.backends[name].module
        lines = (Expectations.of_plugin(module) or Expectations()).lines
        self.bugs = [e for e in lines if e.applies_to(device.id, device.versions)]
        self.suites: list[Suite] = [load_suite(name) for name in SUITES]

    def judge(self, key: str, died: frozenset[str], note: Path) -> OperatorResult:
        """Every mutant of one operator (see `Bench` for what died, and the note)."""
        operator = contract().latest(key)
        cases = list(self._cases(key))
        same = self.kept.key(cases)
        known = self.kept.load(key, same) if self.resume else None
        if known is not None:
            return known
        bench = Bench(self.engine, cases, died, note)
        verdicts = tuple(bench.verdict(m) for m in mutants_of(operator, self.request))
        self.engine.forget()
        result = OperatorResult(key, verdicts, without_bugs(bench.control, self.bugs))
        self.kept.save(result, same)
        return result

    def _cases(self, key: str) -> Iterator[Case]:
        for suite in self.suites:
            for facts in suite:
                if key in facts.operators:
                    case = suite.load(facts.id)
                    if isinstance(case, Case):
                        yield case
