"""What pytest asks of the conformance suites: collection, one test a case, and the end of a run."""

from __future__ import annotations

import collections
import functools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hal import Outcome
from hal.errors import HalError
from hal_conformance import case as anchor
from hal_conformance.case import CaseFacts
from hal_conformance.expectations import Expectation
from hal_conformance.pytest_device import TestedDevice
from hal_conformance.report import CaseResult

__all__ = ["CaseItem", "Conformance", "Expected", "Failed"]

SAID_BY_ITSELF = (Outcome.UNSUPPORTED, Outcome.SKEW, Outcome.UNFED)
_ANCHOR = Path(anchor.__file__)
_NODE = anchor.__name__
_PROPERTY = "hal_"


class Failed(Exception):
    """A case did not pass, and nothing lists it."""


class Expected(Exception):
    """A case did not pass, as an expectation of the backend says."""


class Conformance:
    """The hooks of a run on one device. The device is opened when pytest's session starts, in
    pytest-xdist's controller and in each worker."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.results: dict[str, CaseResult] = {}
        self.problems: list[str] = []

    @functools.cached_property
    def tested(self) -> TestedDevice:
        """The device. Raises pytest.UsageError with the message and the next step."""
        option = self.config.getoption
        try:
            return TestedDevice(
                option("hal_device"),
                option("hal_suite"),
                option("hal_profile"),
                timeout=option("hal_timeout"),
                memory=round(option("hal_memory") * 2**30),
            )
        except HalError as error:
            next_step = f"\nnext: {error.next_step}" if error.next_step else ""
            raise pytest.UsageError(f"{error}{next_step}") from None

    def pytest_sessionstart(self) -> None:
        """Suites are made here, before pytest-xdist's workers would all make them at once."""
        self.tested  # noqa: B018

    def pytest_report_header(self) -> str:
        tested = self.tested
        versions = ", ".join(f"{n} {v}" for n, v in tested.device.versions.items())
        return ", ".join(filter(None, [f"hal: {tested.device.id}", tested.suite.version, versions]))

    def pytest_collect_file(
        self, file_path: Path, parent: pytest.Collector
    ) -> pytest.Collector | None:
        """One file of the package stands for the cases."""
        if file_path != _ANCHOR:
            return None
        return CaseFile.from_parent(parent, path=file_path, nodeid=_NODE, tested=self.tested)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        said = {k[4:]: str(v) for k, v in report.user_properties if k.startswith(_PROPERTY)}
        if report.when == "call" and report.nodeid.startswith(f"{_NODE}::") and "outcome" in said:
            facts = self.tested.suite.facts(report.nodeid.partition("::")[2])
            outcome = Outcome(said["outcome"])
            self.results[facts.id] = CaseResult(facts.id, facts.operators, outcome)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Expectations over several cases are judged here, where all results have come together."""
        if hasattr(self.config, "workerinput") or not self.results:
            return
        self.problems = [v.message for v in self.tested.violations([*self.results.values()])]
        if self.problems and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if not self.results:
            return
        counts = collections.Counter(r.outcome.value for r in self.results.values())
        told = ", ".join(f"{counts[o.value]} {o.value}" for o in Outcome if counts[o.value])
        terminalreporter.section(f"conformance of {self.tested.device.id}")
        terminalreporter.line(f"{len(self.results)} cases: {told}")
        for problem in self.problems:
            terminalreporter.line(f"expectations: {problem}", red=True)

    def pytest_unconfigure(self) -> None:
        if "tested" in vars(self):
            self.tested.close()


class CaseFile(pytest.File):
    """The cases of a suite, in its order, which is the same in every process."""

    def __init__(self, *, tested: TestedDevice, **rest: Any) -> None:
        super().__init__(**rest)
        self.tested = tested

    def collect(self) -> Iterator[CaseItem]:
        for facts in self.tested.cases:
            yield CaseItem.from_parent(self, name=facts.id, tested=self.tested, facts=facts)


class CaseItem(pytest.Item):
    """One case. `-k` finds it by its operators, types and profiles too."""

    def __init__(self, *, tested: TestedDevice, facts: CaseFacts, **rest: Any) -> None:
        super().__init__(**rest)
        self.tested, self.facts = tested, facts
        self.lines = tested.lines_of(facts.id)
        for mark in tested.marks(facts):
            self.add_marker(mark)
            self.extra_keyword_matches.add(mark.kwargs["name"])
        if self.lines:
            line = self.lines[0]
            reason = f"{line.reason} ({line.link})" if line.link else line.reason
            mark = pytest.mark.xfail(reason=reason, strict=line.exact, raises=Expected)
            self.add_marker(mark)

    def runtest(self) -> None:
        """See docs/pytest.md for what becomes of which outcome."""
        result = self.tested.run(self.facts.id)
        self.user_properties += [
            (f"{_PROPERTY}outcome", result.outcome.value),
            (f"{_PROPERTY}evidence", result.evidence),
            (f"{_PROPERTY}reason", result.reason),
        ]
        outcome = result.outcome
        if outcome is Outcome.PASS:
            return
        told = f"{outcome.value}: {result.reason}" if result.reason else outcome.value
        if any(line.covers(outcome) for line in self.lines):
            raise Expected(told)
        if outcome is Outcome.DISPUTED or (outcome in SAID_BY_ITSELF and self._may_skip()):
            pytest.skip(told)
        raise Failed(f"{told}{_listed(self.lines)}\n\n{self._command()}")

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        if isinstance(excinfo.value, (Expected, Failed)):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        return self.path, None, self.facts.id

    def _may_skip(self) -> bool:
        return not self.lines and self.config.getoption("hal_unsupported") == "skip"

    def _command(self) -> str:
        device, suite = self.tested.device.id, self.facts.suite
        return f"hal conformance -d {device} --suite {suite} -k {self.facts.id} --repro repro"


def _listed(lines: Iterable[Expectation]) -> str:
    line = next(iter(lines), None)
    if line is None:
        return ""
    return f"\nlisted as {line.outcome.value if line.outcome else line.status}: {line.reason}"
