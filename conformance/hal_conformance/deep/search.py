"""The search of `--depth deep`: Hypothesis draws cases of each operator and type, the device runs
them in a host process, and what fails is shrunk to a minimal failing case."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager

from hal import BackendSpec, Device, Outcome, OutcomeClass
from hal.backend import Option
from hal.errors import AbsentError
from hal.host import Host
from hal_conformance.case import Case, CaseFacts
from hal_conformance.deep.choices import Choices, Unfit
from hal_conformance.deep.makers import Target, targets
from hal_conformance.judge import NEEDS_CONFIRMATION, run_case
from hal_conformance.report import CaseResult

__all__ = ["DEFAULT_DRAWS", "Found", "chosen_targets", "require_hypothesis", "search"]

DEFAULT_DRAWS = 20
_FAULTS = (OutcomeClass.WRONG, OutcomeClass.BROKEN)

HostFactory = Callable[[], AbstractContextManager[Host]]


@dataclasses.dataclass(frozen=True)
class Found:
    """What came of one operator and type: how many cases ran, by outcome, and the minimal failing
    case, if one failed. `note` says what kept a failure from being one."""

    stem: str
    outcomes: Mapping[Outcome, int]
    minimal: CaseResult | None = None
    note: str = ""


def require_hypothesis() -> None:
    """Raises AbsentError where it is not installed."""
    if importlib.util.find_spec("hypothesis") is None:
        raise AbsentError(
            "--depth deep needs Hypothesis, which is not installed",
            next_step="pip install 'hal-conformance[deep]'",
        )


def chosen_targets(cases: Iterable[CaseFacts]) -> list[Target]:
    """The targets of which one of the suite's cases is among these."""
    stems = {_stem(case.id) for case in cases}
    return [target for target in targets() if target.stem in stems]


def _stem(case_id: str) -> str:
    head, _, tail = case_id.rpartition("/")
    return f"{head}/{tail.partition('-')[0]}-"


def search(
    chosen: Sequence[Target],
    device: Device,
    spec: BackendSpec,
    new_host: HostFactory,
    options: Mapping[str, Option],
    *,
    draws: int = DEFAULT_DRAWS,
) -> Iterator[Found]:
    """Draw so many cases of each target, the same ones every time, and yield what came of each."""
    with new_host() as host:
        for target in chosen:
            run = functools.partial(_run, device=device, spec=spec, options=options)
            yield _search(target, draws, functools.partial(run, host=host), new_host, run)


def _run(
    case: Case,
    *,
    host: Host,
    device: Device,
    spec: BackendSpec,
    options: Mapping[str, Option],
) -> CaseResult:
    return run_case(case, device, spec, host, options)


class _Failed(Exception):
    """Of one outcome: Hypothesis shrinks failures of a kind, which is the exception's type."""


_KINDS = {outcome: type(f"_{outcome.name}", (_Failed,), {}) for outcome in Outcome}


def _search(
    target: Target,
    draws: int,
    run: Callable[[Case], CaseResult],
    new_host: HostFactory,
    run_on: Callable[..., CaseResult],
) -> Found:
    import hypothesis
    from hypothesis import HealthCheck, Phase, errors, settings
    from hypothesis import strategies as st

    outcomes: dict[Outcome, int] = {}
    known: dict[str, CaseResult] = {}
    last: list[tuple[Case, CaseResult]] = []
    shrinking = False

    def attempt(data: st.DataObject) -> None:
        nonlocal shrinking
        choices = Choices(lambda most: data.draw(st.integers(0, most)))
        try:
            case = target.case(choices)
        except Unfit:
            hypothesis.reject()
        result = known.get(case.id)
        if result is None:
            result = known[case.id] = run(case)
            if not shrinking:
                outcomes[result.outcome] = outcomes.get(result.outcome, 0) + 1
        if result.outcome.outcome_class in _FAULTS:
            shrinking = True
            last[:] = [(case, result)]
            raise _KINDS[result.outcome]

    settled = settings(
        max_examples=draws,
        database=None,
        deadline=None,
        report_multiple_bugs=False,
        print_blob=False,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    test = hypothesis.given(st.data())(attempt)
    test = hypothesis.seed(zlib.crc32(target.stem.encode()))(settled(test))
    note = ""
    try:
        test()
    except _Failed:
        pass
    except errors.Flaky as error:
        note = f"not the same twice: {error}".splitlines()[0]
    except errors.Unsatisfiable:
        note = "no case could be made"
    if not last:
        return Found(target.stem, outcomes, note=note)
    case, result = last[0]
    if result.outcome in NEEDS_CONFIRMATION:
        with new_host() as fresh:
            again = run_on(case, host=fresh)
        if again.outcome is not result.outcome:
            note = f"{result.outcome.value} beside other cases, {again.outcome.value} alone"
        result = again
        if result.outcome.outcome_class not in _FAULTS:
            return Found(target.stem, outcomes, note=note)
    return Found(target.stem, outcomes, result, note)
