"""The suites that plugins provide: their cases as the runner sees them (docs/adr/0003)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from hal.errors import BrokenError, HalError, UsageError, did_you_mean
from hal.plugins import RegisteredSuite
from hal_conformance.case import CaseFacts, HostedCase

__all__ = ["PluginSuite"]


class PluginSuite:
    """See `hal_conformance.case.Suite`. Raises what the plugin's `cases` raises if that is a
    HalError, and BrokenError for anything else."""

    def __init__(self, registered: RegisteredSuite) -> None:
        spec = registered.spec
        try:
            known = spec.cases()
        except HalError:
            raise
        except Exception as error:
            raise BrokenError(
                f"the suite {spec.name} cannot list its cases: {type(error).__name__}: {error}"
            ) from error
        self.name = spec.name
        self.version = known.version
        self.backend = spec.backend
        """The backend on whose devices the cases run."""
        self.env: Mapping[str, str] = spec.env
        self.left_out: Mapping[str, str] = known.left_out
        self.others = known.others
        self.groups: dict[str, list[str]] = defaultdict(list)
        """The ids of the cases that each score is over, by its name."""
        self._cases: dict[str, HostedCase] = {}
        for case in known.cases:
            self._cases[case.id] = HostedCase(
                id=case.id,
                suite=spec.name,
                nodes=(),
                operators=(case.operator,),
                cells=(case.id.partition("/")[2],),
                single_operator=case.operator,
                expanded=False,
                opset=0,
                ir_version=0,
                rtol=0.0,
                atol=0.0,
                module=registered.module,
            )
            for group in case.groups:
                self.groups[group].append(case.id)

    def __len__(self) -> int:
        return len(self._cases)

    def __iter__(self) -> Iterator[CaseFacts]:
        return iter(self._cases.values())

    def facts(self, case_id: str) -> CaseFacts:
        """The facts of one case. Raises UsageError if there is no such case."""
        return self.load(case_id)

    def load(self, case_id: str) -> HostedCase:
        """The case, which is its facts. Raises UsageError if there is no such case."""
        try:
            return self._cases[case_id]
        except KeyError:
            raise UsageError(
                f"the suite {self.name} has no case {case_id!r}."
                f"{did_you_mean(case_id, self._cases)}"
            ) from None
