"""One case on one device: compile, run, compare, look where it ran, and give one outcome."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from hal import Ability, BackendSpec, Device, Evidence, Model, Outcome, Placement, Value
from hal.backend import Executable, Option
from hal.compare import compare
from hal.errors import (
    CrashError,
    DeadlineError,
    FallbackError,
    HalError,
    MemoryLimitError,
    SkewError,
    UnfedError,
    UnsupportedError,
)
from hal.host import Host
from hal.suite import Verdict
from hal_conformance.case import Case, DataSet, HostedCase
from hal_conformance.precision import tolerance
from hal_conformance.random_outputs import check_random_outputs
from hal_conformance.report import CaseResult

__all__ = ["NEEDS_CONFIRMATION", "Compiler", "outcome_of", "run_case", "run_hosted_case"]

NEEDS_CONFIRMATION = frozenset({Outcome.CRASH, Outcome.TIMEOUT, Outcome.MEMORY})
"""Outcomes that count only when a fresh host, alone on the machine, repeats them."""

_OUTCOMES: tuple[tuple[type[HalError], Outcome], ...] = (
    (UnsupportedError, Outcome.UNSUPPORTED),
    (SkewError, Outcome.SKEW),
    (UnfedError, Outcome.UNFED),
    (FallbackError, Outcome.FALLBACK),
    (CrashError, Outcome.CRASH),
    (DeadlineError, Outcome.TIMEOUT),
    (MemoryLimitError, Outcome.MEMORY),
    (HalError, Outcome.ERROR),
)


def outcome_of(error: HalError) -> Outcome:
    """The outcome of a call that raised this."""
    return next(o for kind, o in _OUTCOMES if isinstance(error, kind))


class Compiler(Protocol):
    """What a case needs of a backend: a host or a backend in this process."""

    def compile(
        self, device: Device, model: Model, options: Mapping[str, Option]
    ) -> Executable: ...


def run_case(
    case: Case,
    device: Device,
    spec: BackendSpec,
    backend: Compiler,
    options: Mapping[str, Option],
    clock: Callable[[], float] = time.perf_counter,
) -> CaseResult:
    """The outcome of `case` on `device`; raises nothing that the backend does."""
    start = clock()
    evidence = ""

    def result(outcome: Outcome, reason: str = "") -> CaseResult:
        return CaseResult(
            id=case.id,
            operators=case.operators,
            outcome=outcome,
            evidence=evidence,
            reason=reason,
            seconds=clock() - start,
        )

    if case.disputed:
        return result(Outcome.DISPUTED, case.disputed)
    try:
        executable = backend.compile(device, case.model, options)
        try:
            wrong = ""
            for data_set in case.data_sets:
                outputs = executable.run(data_set.inputs)
                wrong = wrong or _wrong(case, device, data_set, outputs)
            placement = _placement(case, device, spec, executable)
        finally:
            if Ability.CLOSE in spec.abilities:
                _close(executable)
    except HalError as error:
        return result(outcome_of(error), str(error))
    except Exception as error:  # noqa: BLE001 (a backend in this process raises what it likes)
        return result(Outcome.ERROR, _told(error))
    evidence = placement.evidence.value
    if placement.fell_back(device.id, accelerator=device.kind != "cpu"):
        return result(Outcome.FALLBACK, _where(placement, device))
    return result(Outcome.WRONG, wrong) if wrong else result(Outcome.PASS)


def run_hosted_case(
    case: HostedCase,
    device: Device,
    host: Host,
    clock: Callable[[], float] = time.perf_counter,
) -> CaseResult:
    """The outcome of a case whose suite judges it in the host; raises nothing that comes of it."""
    start = clock()
    try:
        verdict = host.run_case(case.module, case.suite, device, case.id)
    except HalError as error:
        verdict = Verdict(outcome_of(error), reason=str(error))
    return CaseResult(
        id=case.id,
        operators=case.operators,
        outcome=verdict.outcome,
        evidence=verdict.evidence.value if verdict.evidence else "",
        reason=verdict.reason,
        seconds=clock() - start,
    )


def _wrong(case: Case, device: Device, data: DataSet, got: Mapping[str, Value]) -> str:
    if case.judge == "statistics":
        return check_random_outputs(case, data, got)
    for name, expected in data.outputs.items():
        if name not in got:
            return f"output {name!r} is missing"
        rtol, atol = tolerance(case, device, expected)
        reason = compare(expected, got[name], rtol=rtol, atol=atol)
        if reason:
            return f"output {name!r}: {reason}"
    return ""


def _placement(case: Case, device: Device, spec: BackendSpec, executable: Executable) -> Placement:
    if Ability.PLACEMENT in spec.abilities:
        return executable.placement()  # type: ignore[attr-defined,no-any-return]  # declared
    return Placement.everywhere(case.nodes, device.id, Evidence.DECLARED)


def _close(executable: Executable) -> None:
    # A host that died has nothing left to free, and the error that killed it is raised.
    with contextlib.suppress(HalError):
        executable.close()  # type: ignore[attr-defined]  # declared


def _told(error: Exception) -> str:
    """As a host tells it: the type and, where there is one, the message."""
    name = type(error).__name__
    try:
        return f"{name}: {error}" if str(error) else name
    except Exception:  # noqa: BLE001 (its __str__ is the backend's code too)
        return name


def _where(placement: Placement, device: Device) -> str:
    elsewhere = placement.elsewhere(device.id)
    if not elsewhere:
        return f"no node was left to run on {device.id}"
    first = elsewhere[0]
    more = f" and {len(elsewhere) - 1} more" if len(elsewhere) > 1 else ""
    return f"node {first.node!r}{more} ran on {first.device}"
