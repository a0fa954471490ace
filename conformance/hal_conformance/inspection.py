"""One case on one device, with all that came of it: what `--show` prints and `--repro` writes."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from hal import Device, MapValue, Model, OptionalValue, SequenceValue, Tensor, Value
from hal.backend import Executable, Option
from hal.errors import UsageError
from hal.plugins import Registry
from hal_conformance.case import Case, CaseFacts, HostedCase, Suite
from hal_conformance.judge import Compiler, run_case, run_hosted_case
from hal_conformance.report import CaseResult, Limits

__all__ = ["Inspection", "inspect_cases", "refuse_many"]


@dataclasses.dataclass(frozen=True)
class Inspection:
    """What came of a case. `got` has the outputs of each data set that ran, by name."""

    device: Device
    case: Case | HostedCase
    result: CaseResult
    got: tuple[Mapping[str, Value], ...]
    options: Mapping[str, Option]


def refuse_many(cases: Sequence[CaseFacts], limit: int, flag: str) -> None:
    """Raises UsageError when more cases are chosen than a person looks at."""
    if len(cases) > limit:
        some = ", ".join(case.id for case in cases[:3])
        raise UsageError(
            f"{len(cases)} cases are chosen, and {flag} takes {limit} at most",
            next_step=f"narrow them with -k; the first are {some}",
        )


def inspect_cases(
    registry: Registry,
    devices: Sequence[Device],
    suite: Suite,
    cases: Sequence[CaseFacts],
    limits: Limits,
    options: Callable[[Device], Mapping[str, Option]],
    progress: Callable[[CaseResult], None] = lambda result: None,
) -> Iterator[Inspection]:
    """Run each case on each device, in a host of its own. Disputed cases run as well."""
    for facts in cases:
        for device in devices:
            registered = registry.backends[device.backend]
            chosen = options(device)
            open_host = functools.partial(
                registry.host, device.backend, timeout=limits.timeout, memory=limits.memory
            )
            case = suite.load(facts.id)
            got: list[Mapping[str, Value]] = []
            if isinstance(case, HostedCase):
                env = registry.suites[suite.name].spec.env
                with open_host(**({"env": env} if env else {})) as host:
                    result = run_hosted_case(case, device, host)
            else:
                with open_host() as host:
                    recorder = _Recorder(host, got)
                    told = dataclasses.replace(case, disputed="")
                    result = run_case(told, device, registered.spec, recorder, chosen)
            progress(result)
            yield Inspection(device, case, result, tuple(got), chosen)


class _Recorder:
    """A backend whose outputs are kept."""

    def __init__(self, backend: Compiler, got: list[Mapping[str, Value]]) -> None:
        self._backend, self._got = backend, got

    def compile(self, device: Device, model: Model, options: Mapping[str, Option]) -> Executable:
        return _Recorded(self._backend.compile(device, model, options), self._got)


class _Recorded:
    def __init__(self, executable: Any, got: list[Mapping[str, Value]]) -> None:
        self._executable, self._got = executable, got

    def run(self, inputs: Mapping[str, Value]) -> Mapping[str, Value]:
        outputs: Mapping[str, Value] = self._executable.run(inputs)
        self._got.append({name: _kept(value) for name, value in outputs.items()})
        return outputs

    def placement(self) -> Any:
        return self._executable.placement()

    def close(self) -> None:
        self._executable.close()


def _kept(value: Any) -> Any:
    """A copy: what a host gives may lie in memory that its next call uses again."""
    if isinstance(value, Tensor):
        return Tensor(value.element_type, value.shape, memoryview(bytes(value.data)))
    if isinstance(value, SequenceValue):
        return SequenceValue(value.type, tuple(_kept(item) for item in value.items))
    if isinstance(value, OptionalValue):
        return OptionalValue(value.type, _kept(value.value))
    if isinstance(value, MapValue):
        return MapValue(value.type, _kept(value.keys), _kept(value.values))
    return value
