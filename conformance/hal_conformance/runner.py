"""Runs the cases of a suite on a device: several hosts at once, every result kept the moment it is
known, and no crash or hang a verdict before a fresh host, alone, has repeated it."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping

from hal import Device, Outcome
from hal.backend import BackendSpec, Option
from hal.host import Host
from hal_conformance.case import Case, HostedCase, Suite
from hal_conformance.digests import case_digest
from hal_conformance.journal import Keeper
from hal_conformance.judge import NEEDS_CONFIRMATION, run_case, run_hosted_case
from hal_conformance.report import CaseResult, Limits

__all__ = ["Run", "run_cases"]


@dataclasses.dataclass(frozen=True)
class Run:
    """What came of one device: a result for every case, in the suite's order."""

    results: tuple[CaseResult, ...]
    wall_seconds: float
    interrupted: bool
    resumed: int
    """How many results came from the journal of an earlier run."""
    restarts: int
    """How often a host had to be started anew."""
    unreachable: str = ""
    """Why no host could be started any more, which ended the run; "" if one always could."""

    @property
    def complete(self) -> bool:
        return not any(r.outcome is Outcome.NOT_RUN for r in self.results)


HostFactory = Callable[[], Host]
Progress = Callable[[CaseResult], None]


def run_cases(
    suite: Suite,
    case_ids: Iterable[str],
    device: Device,
    spec: BackendSpec,
    new_host: HostFactory,
    limits: Limits,
    journal: Keeper,
    *,
    options: Mapping[str, Option] | None = None,
    progress: Progress = lambda result: None,
) -> Run:
    """Run the named cases of a suite on a device.

    Cases that the journal already holds are not run again. Ctrl-C stops the run: what ran is in the
    journal and in the result, the rest is `not-run`.
    """
    return _Runner(
        suite, list(case_ids), device, spec, new_host, limits, journal, options or {}, progress
    ).run()


class _Runner:
    def __init__(
        self,
        suite: Suite,
        case_ids: list[str],
        device: Device,
        spec: BackendSpec,
        new_host: HostFactory,
        limits: Limits,
        journal: Keeper,
        options: Mapping[str, Option],
        progress: Progress,
    ) -> None:
        self.suite, self.case_ids, self.device, self.spec = suite, case_ids, device, spec
        self.new_host, self.limits, self.journal = new_host, limits, journal
        self.options, self.progress = options, progress
        self.digests: dict[str, str] = {}
        self.restarts = 0
        self.unreachable = ""
        self.doubtful: list[CaseResult] = []
        self.lock = threading.Lock()
        self.stop = threading.Event()

    def run(self) -> Run:
        start = time.perf_counter()
        known = {i: self.journal.results[i] for i in self.case_ids if i in self.journal.results}
        for result in known.values():
            self.progress(result)
        interrupted = False
        try:
            left = [i for i in self.case_ids if i not in known]
            unconfirmed = self.journal.unconfirmed
            self.doubtful = [unconfirmed[i] for i in left if i in unconfirmed]
            self._run_all([i for i in left if i not in unconfirmed])
            self._confirm()
        except KeyboardInterrupt:
            interrupted = True
        finally:
            self.stop.set()
            self.journal.close()
        done = self.journal.results
        results = tuple(done.get(i) or self._not_run(i) for i in self.case_ids)
        return Run(
            results,
            time.perf_counter() - start,
            interrupted,
            len(known),
            self.restarts,
            self.unreachable,
        )

    def _run_all(self, case_ids: list[str]) -> None:
        waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
        for case_id in case_ids:
            waiting.put(case_id)
        jobs = max(1, min(self.limits.jobs, len(case_ids)))
        hosts = [self.new_host() for _ in range(jobs)]
        with concurrent.futures.ThreadPoolExecutor(jobs, "hal-conformance") as pool:
            try:
                workers = [pool.submit(self._work, waiting, host) for host in hosts]
                for worker in concurrent.futures.as_completed(workers):
                    worker.result()
            except BaseException:
                # A worker may wait for a call that takes minutes: ending its host wakes it.
                self.stop.set()
                for host in hosts:
                    host.close()
                raise

    def _work(self, waiting: queue.SimpleQueue[str], host: Host) -> None:
        with host:
            while not self.stop.is_set():
                try:
                    case = self.suite.load(waiting.get_nowait())
                except queue.Empty:
                    break
                result = self._run_case(case, host)
                with self.lock:
                    if self.stop.is_set() or self._gone(host):
                        break
                    if result.outcome in NEEDS_CONFIRMATION:
                        self.doubtful.append(result)
                        self.journal.doubt(result)
                    else:
                        self._keep(result)
            with self.lock:
                self.restarts += host.restarts

    def _confirm(self) -> None:
        for first in self.doubtful:
            if self.stop.is_set():
                return
            with self.new_host() as host:
                result = self._run_case(self.suite.load(first.id), host)
                if self._gone(host):
                    return  # no verdict: it was not repeated
            if result.outcome is not first.outcome:
                note = f"beside other cases it ended as {first.outcome.value}: {first.reason}"
                reason = f"{result.reason} ({note})" if result.reason else note
                result = dataclasses.replace(result, reason=reason)
            self._keep(result)

    def _gone(self, host: Host) -> bool:
        """Whether no process could be started on another machine. The outcome then says nothing of
        the case, and neither would that of any other."""
        if not (host.remote and host.unreachable):
            return False
        self.unreachable = host.unreachable
        self.stop.set()
        return True

    def _run_case(self, case: Case | HostedCase, host: Host) -> CaseResult:
        if isinstance(case, HostedCase):
            return run_hosted_case(case, self.device, host)
        self.digests[case.id] = case_digest(case)
        return run_case(case, self.device, self.spec, host, self.options)

    def _keep(self, result: CaseResult) -> None:
        self.journal.add(result, self.digests.get(result.id, ""))
        self.progress(result)

    def _not_run(self, case_id: str) -> CaseResult:
        facts = self.suite.facts(case_id)
        return CaseResult(case_id, facts.operators, Outcome.NOT_RUN, "", "", 0.0)
