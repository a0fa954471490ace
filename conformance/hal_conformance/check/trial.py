"""A model on the device under test: whatever comes of a run is an outcome."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from hal import Ability, BackendSpec, Device, Evidence, Model, Outcome, Placement, Value
from hal.backend import Option, UnsupportedNode
from hal.errors import HalError, UsageError
from hal.host import Host, HostedExecutable
from hal_conformance.case import Case
from hal_conformance.judge import outcome_of, run_case
from hal_conformance.report import CaseResult

__all__ = ["BROKEN", "Engine", "Trial"]

BROKEN = frozenset({Outcome.ERROR, Outcome.CRASH, Outcome.TIMEOUT, Outcome.MEMORY})
"""Outcomes of a run that gave nothing to judge."""


@dataclasses.dataclass(frozen=True)
class Trial:
    """What came of a run: PASS with the outputs, which are yet to be judged, or why there are none.
    `nodes` are those that the backend named in its error."""

    outcome: Outcome
    outputs: Mapping[str, Value]
    reason: str = ""
    next_step: str = ""
    nodes: tuple[str, ...] = ()
    placement: Placement | None = None


class Engine:
    """The device under test, in a host process that is started again when it dies."""

    def __init__(
        self, host: Host, device: Device, spec: BackendSpec, options: Mapping[str, Option]
    ) -> None:
        self.device = device
        self.options = dict(options)
        self.spec = spec
        self._host = host

    def limit(self, seconds: float) -> None:
        """How long each of the following calls may take."""
        self._host.timeout = seconds

    def unsupported(self, model: Model) -> tuple[UnsupportedNode, ...]:
        """The nodes that the backend says the device does not take: all, or the first where its
        engine stops there; none where it died of the question, which the run will show."""
        try:
            return self._host.supports(self.device, model).unsupported
        except HalError:
            return ()

    def run(
        self, model: Model, inputs: Mapping[str, Value], nodes: tuple[str, ...] | None = None
    ) -> Trial:
        """Compile and run once. With `nodes`, the names of all nodes, where each ran is asked.
        Raises UsageError for options that the backend does not have."""
        executable: HostedExecutable | None = None
        placement = None
        try:
            executable = self._host.compile(self.device, model, self.options)
            outputs = executable.run(inputs)
            if nodes is not None:
                placement = self._placement(executable, nodes)
        except HalError as error:
            if self.options and isinstance(error, UsageError):
                raise
            named = tuple(getattr(error, "nodes", ()))
            return Trial(outcome_of(error), {}, str(error), error.next_step, named)
        finally:
            if executable is not None and Ability.CLOSE in self.spec.abilities:
                _close(executable)
        return Trial(Outcome.PASS, outputs, placement=placement)

    def run_case(self, case: Case) -> CaseResult:
        """The outcome of a conformance case."""
        return run_case(case, self.device, self.spec, self._host, self.options)

    def _placement(self, executable: HostedExecutable, nodes: tuple[str, ...]) -> Placement:
        if Ability.PLACEMENT in self.spec.abilities:
            return executable.placement()
        return Placement.everywhere(nodes, self.device.id, Evidence.DECLARED)


def _close(executable: HostedExecutable) -> None:
    try:
        executable.close()
    except HalError:
        return  # a host that died has nothing left to free
