"""One device under pytest: its cases, a host that runs them, and what is expected of each."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence

import pytest

from hal.backend import Option
from hal.contract import contract, profile_names
from hal.host import Host
from hal.plugins import Registry, load_plugins
from hal_conformance.case import CaseFacts, HostedCase, Suite
from hal_conformance.cells import operators_and_types
from hal_conformance.expectations import Expectation, Expectations
from hal_conformance.expectations_judge import Violation, judge
from hal_conformance.judge import NEEDS_CONFIRMATION, run_case, run_hosted_case
from hal_conformance.report import CaseResult
from hal_conformance.session import all_ids, choose_cases, choose_devices, host_environment
from hal_conformance.suite_plugin import PluginSuite

__all__ = ["TestedDevice"]


class TestedDevice:
    """Opened once in each process of pytest. Raises HalError where device, suite or expectations
    cannot be had."""

    __test__ = False  # pytest takes a class of this name for tests

    def __init__(
        self, device_id: str, suite: str, profile: str, *, timeout: float, memory: int
    ) -> None:
        self.registry: Registry = load_plugins()
        self.suite: Suite
        self.suite, self.cases = choose_cases(self.registry, suite, profile, ())
        (self.device,), _ = choose_devices(self.registry, [device_id], self.suite, slow=True)
        registered = self.registry.backends[self.device.backend]
        self.spec = registered.spec
        self.expectations = Expectations.of_plugin(registered.module)
        own = isinstance(self.suite, PluginSuite)
        self._options: Mapping[str, Option] = {} if own else self.spec.conformance_options
        self._new_host = functools.partial(
            self.registry.host,
            self.device.backend,
            timeout=timeout,
            memory=memory,
            **host_environment(self.suite),
        )
        self._host: Host | None = None

    def close(self) -> None:
        """End the host."""
        if self._host is not None:
            self._host.close()
        self.registry.close()

    def run(self, case_id: str) -> CaseResult:
        """What comes of a case. A crash, a timeout or a memory limit counts when a fresh host
        repeats it."""
        case = self.suite.load(case_id)
        if self._host is None:
            self._host = self._new_host()
        first = self._run(case, self._host)
        if first.outcome not in NEEDS_CONFIRMATION:
            return first
        with self._new_host() as fresh:
            return self._run(case, fresh)

    def lines_of(self, case_id: str) -> Sequence[Expectation]:
        """The expectations that name a case, those of it alone first."""
        return self._lines.get(case_id, ())

    def violations(self, results: Sequence[CaseResult]) -> Sequence[Violation]:
        """What in the expectations does not hold, of those lines that no single case shows."""
        judgement = judge(
            self.expectations,
            results,
            self.device,
            suite_cases=all_ids(self.suite),
            suites=self.registry.suites,
        )
        return [v for v in judgement.violations if v.kind in ("stale", "no-match", "version")]

    def marks(self, case: CaseFacts) -> list[pytest.MarkDecorator]:
        """The markers of a case."""
        dtypes = dict.fromkeys(t for _, t in operators_and_types(case.cells, case.operators))
        return [
            *(pytest.mark.hal_operator(name=name) for name in case.operators),
            *(pytest.mark.hal_dtype(name=name) for name in dtypes),
            *(pytest.mark.hal_profile(name=name) for name in self._profiles_of(case)),
        ]

    def _run(self, case: CaseFacts, host: Host) -> CaseResult:
        if isinstance(case, HostedCase):
            result = run_hosted_case(case, self.device, host)
        else:
            result = run_case(case, self.device, self.spec, host, self._options)  # type: ignore[arg-type]
        return dataclasses.replace(result, cells=case.cells)

    @functools.cached_property
    def _lines(self) -> Mapping[str, list[Expectation]]:
        found: dict[str, list[Expectation]] = {}
        ids = all_ids(self.suite)
        for line in self.expectations.lines if self.expectations else ():
            if line.applies_to(self.device.id, self.device.versions):
                for case_id in line.matches(ids):
                    found.setdefault(case_id, []).append(line)
        for lines in found.values():
            lines.sort(key=lambda line: not line.exact)
        return found

    def _profiles_of(self, case: CaseFacts) -> list[str]:
        if isinstance(self.suite, PluginSuite):
            return [name for name, ids in self._groups.items() if case.id in ids]
        return [n for n, keys in self._profiles.items() if keys.issuperset(case.operators)]

    @functools.cached_property
    def _groups(self) -> Mapping[str, frozenset[str]]:
        groups = self.suite.groups if isinstance(self.suite, PluginSuite) else {}
        return {name: frozenset(ids) for name, ids in groups.items()}

    @functools.cached_property
    def _profiles(self) -> Mapping[str, frozenset[str]]:
        table = contract()
        return {n: frozenset(op.key for op in table.operators_of(n)) for n in profile_names()}
