"""The self-test: every mutant judged on the cases of both suites."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import enum
import hashlib
import multiprocessing
from collections.abc import Iterator, Mapping, Sequence

from hal import BackendSpec, Outcome
from hal.backend import Option
from hal.contract import STABLE_DOMAINS, Operator, contract
from hal.device import backend_of
from hal.errors import UsageError, did_you_mean
from hal.plugins import load_plugins
from hal_conformance.case import Case, Suite, load_suite
from hal_conformance.judge import Compiler, run_case
from hal_conformance.mutants.engine import Engine
from hal_conformance.mutants.equivalent import reason_for
from hal_conformance.mutants.fault import faults_of, kinds
from hal_conformance.mutants.mutant import Mutant, MutantBackend, Prepared, prepare

__all__ = [
    "SUITES",
    "Bench",
    "Control",
    "OperatorResult",
    "Request",
    "TypeChoice",
    "Verdict",
    "mutants_of",
    "operators_of",
    "selftest",
]

SUITES = ("contract", "onnx")


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


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What came of one mutant. `caught` has the first case of each suite that noticed it, by suite;
    `reached` says whether any case had another result than the correct one."""

    id: str
    operator: str
    kind: str
    type: str
    caught: Mapping[str, str]
    reached: bool
    equivalent: str = ""
    """Why it is no wrong kernel, "" if it is one."""
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
    """The mutants of an operator's kernel: each fault in the kernels of all types, and in that of
    each type alone."""
    constraint = operator.constraints[0] if operator.constraints else None
    types = constraint.types if constraint else ("",)
    for kind, fault in faults_of(operator):
        if request.kinds and kind not in request.kinds:
            continue
        fitting = [t for t in types if fault.types(t)]
        if not fitting:
            continue
        every = Mutant(operator.key, kind, fault)
        yield every
        if len(fitting) > 1:
            for type_ in _chosen(fitting, f"{request.seed} {every.id}", request.types):
                yield dataclasses.replace(every, type=type_)


def _chosen(types: Sequence[str], key: str, choice: TypeChoice) -> Sequence[str]:
    if choice is TypeChoice.ONE:
        drawn = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")
        return [types[drawn % len(types)]]
    return types if choice is TypeChoice.ALL else ()


def selftest(request: Request, jobs: int = 1) -> Iterator[OperatorResult]:
    """The results of each operator, as they come. Raises UsageError for an unknown device, operator
    or kind, and what the suites raise where they cannot be made."""
    operators = operators_of(request)
    sizes = {op.key: 0 for op in operators}
    for name in SUITES:  # made here, so that not every process makes them
        for facts in load_suite(name):
            for key in facts.operators:
                if key in sizes:
                    sizes[key] += 1
    order = sorted(sizes, key=lambda key: -sizes[key])
    if jobs <= 1:
        worker = _Worker(request)
        yield from map(worker.judge, order)
        return
    pool = concurrent.futures.ProcessPoolExecutor(
        min(jobs, len(order)),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start,
        initargs=(request,),
    )
    try:
        futures = [pool.submit(_judge, key) for key in order]
        for future in concurrent.futures.as_completed(futures):
            yield future.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in list((pool._processes or {}).values()):
            process.terminate()


class _Worker:
    """Judges operators, one after the other, in one process."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.registry = load_plugins()
        device = self.registry.find_device(request.device)
        name = backend_of(request.device)
        spec = self.registry.backends[name].spec
        options = {**spec.conformance_options, **request.options}
        self.engine = Engine(self.registry.backend(name), device, options)
        self.suites: list[Suite] = [load_suite(name) for name in SUITES]

    def judge(self, key: str) -> OperatorResult:
        """Every mutant of one operator."""
        operator = contract().latest(key)
        bench = Bench(self.engine, list(self._cases(key)))
        verdicts = tuple(bench.verdict(m) for m in mutants_of(operator, self.request))
        self.engine.forget()
        return OperatorResult(key, verdicts, bench.control)

    def _cases(self, key: str) -> Iterator[Case]:
        for suite in self.suites:
            for facts in suite:
                if key in facts.operators:
                    case = suite.load(facts.id)
                    if isinstance(case, Case):
                        yield case


class Bench:
    """The cases that a mutant of one operator is judged on: those that the correct engine passes.

    Public for tests: `verdict` judges any mutant.
    """

    def __init__(self, engine: Engine, cases: Sequence[Case]) -> None:
        self.engine = engine
        self.prepared: dict[str, Prepared] = {}
        self.cases: list[Case] = []
        passed = dict.fromkeys(SUITES, 0)
        wrong: dict[str, str] = {}
        left_out: dict[str, str] = {}
        for case in cases:
            known = prepare(case.model)
            if known.steps is None:
                left_out[case.id] = "the model cannot be run node by node"
                continue
            self.prepared[case.model.fingerprint] = known
            result = self._run(case, MutantBackend(None, engine, self.prepared))
            if result is None:
                passed[case.suite] += 1
                self.cases.append(case)
            elif result[0] is Outcome.WRONG:
                wrong[case.id] = result[1]
            else:
                left_out[case.id] = f"{result[0].value}: {result[1]}"
        self.control = Control(passed, wrong, *self._in_float64(), left_out)

    def verdict(self, mutant: Mutant) -> Verdict:
        """Judge a mutant: by the first case of each suite that notices it."""
        caught: dict[str, str] = {}
        reached = made = False
        refused = ""
        for suite in SUITES:
            backend = MutantBackend(mutant, self.engine, self.prepared)
            for case in self.cases:
                if case.suite == suite and self._run(case, backend) is not None:
                    caught[suite] = case.id
                    break
            reached = reached or backend.changed > 0
            made = made or backend.made > 0
            refused = refused or backend.refused
        missing = "" if made else refused or "the engine passes no case of its type"
        equivalent = "" if caught else reason_for(mutant)
        return Verdict(
            id=mutant.id,
            operator=mutant.operator,
            kind=mutant.kind,
            type=mutant.type,
            caught=caught,
            reached=reached,
            equivalent=equivalent,
            not_made=missing,
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

    def _run(self, case: Case, backend: Compiler) -> tuple[Outcome, str] | None:
        """None for a pass."""
        result = run_case(case, self.engine.device, _SPEC, backend, {})
        return None if result.outcome is Outcome.PASS else (result.outcome, result.reason)


_SPEC = BackendSpec("mutant", lambda: None, "a correct engine with one fault")  # type: ignore[arg-type,return-value]  # never made by its factory
_worker: _Worker | None = None


def _start(request: Request) -> None:
    global _worker
    _worker = _Worker(request)


def _judge(key: str) -> OperatorResult:
    if _worker is None:
        raise RuntimeError("the worker was not started")
    return _worker.judge(key)
