"""Trials: a candidate compiled in a host of its own, its answers checked and its runs timed."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Mapping, Sequence

from hal._memory import resident
from hal.compare import relative_l2
from hal.host import Host, HostedExecutable
from hal.model import Model
from hal.plugins import Registry
from hal.reference import ReferenceRun
from hal.routing._asked import Asked
from hal.routing._candidate import Candidate
from hal.tensor import Value
from hal.timing import CALLS, DISCARDED, PAUSE

__all__ = ["Trial", "tolerances"]

_BLOCK = 0.03
"""Seconds that the timed calls of a block take together at least, where each is short."""
_MOST = 200
"""The most calls in a block."""


def tolerances(run: ReferenceRun, accuracy: float | None) -> dict[str, float]:
    """The relative L2 distance that each output may have: what the model's conditioning admits, or
    the user's budget where that is more."""
    return {name: max(run.tolerance(name), accuracy or 0.0) for name in run.outputs}


class Trial:
    """One candidate in its host. Its methods raise the HalError of whatever goes wrong."""

    def __init__(
        self,
        registry: Registry,
        candidate: Candidate,
        model: Model,
        inputs: Mapping[str, Value],
        *,
        timeout: float,
    ) -> None:
        self.candidate = candidate
        self._inputs = inputs
        self._hosted = bool(registry.backends[candidate.device.backend].command)
        self._host: Host = registry.host(candidate.device.backend, timeout=timeout)
        self._executable: HostedExecutable | None = None
        self.compiled = self.once = 0.0
        self.calls: list[float] = []
        try:
            self._host.ping()
            self._rest = resident(self._host.pid, "VmRSS")
            start = time.perf_counter()
            self._executable = self._host.compile(candidate.device, model, candidate.options)
            self.compiled = time.perf_counter() - start
        except BaseException:
            self._host.close()
            raise

    def errors(self, asked: Sequence[Asked]) -> dict[str, float]:
        """Run each of these, and compare: the worst distance of every output from the
        reference's."""
        worst: dict[str, float] = {}
        for one in asked:
            got = self._compiled().run(one.inputs)
            for name, value in one.answers.outputs.items():
                error = relative_l2(value, got[name]) if name in got else math.inf
                worst[name] = max(worst.get(name, 0.0), math.inf if math.isnan(error) else error)
            del got
        return worst

    def run(self) -> None:
        """Run a few times, for a first idea of how long it takes: `once`."""
        time.sleep(PAUSE)  # the threads of whoever ran before may still spin
        seconds = self._timed(1, 0)
        if seconds[0] < 1.0:
            seconds += self._timed(DISCARDED, 0)
        self.once = min(seconds)

    def block(self) -> float:
        """One block; its median in seconds."""
        calls = max(CALLS, min(_MOST, round(_BLOCK / max(self.once, 1e-7))))
        seconds = self._timed(calls, DISCARDED)
        self.calls += seconds
        return statistics.median(seconds)

    def throughput(self, streams: int, inputs: Mapping[str, Value] | None = None) -> float:
        """Runs a second with that many threads at once, on inputs of another size if there are."""
        given = self._inputs if inputs is None else inputs
        executable = self._compiled()
        (once,), _ = executable.time(given, calls=1, discarded=1)
        calls = max(CALLS, min(_MOST, round(_BLOCK / max(once, 1e-7))))
        executable.time(given, calls=1, discarded=0, streams=streams)
        _, elapsed = executable.time(given, calls=calls, discarded=0, streams=streams)
        return streams * calls / elapsed

    @property
    def memory(self) -> int:
        """The most bytes that the process has grown by since before it compiled the model."""
        return max(0, resident(self._host.pid, "VmHWM") - self._rest)

    @property
    def p99(self) -> float:
        """Over all timed calls."""
        if not self.calls:
            return 0.0
        ordered = sorted(self.calls)
        return ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]

    def close(self) -> None:
        self._host.close()

    def _compiled(self) -> HostedExecutable:
        if self._executable is None:
            raise RuntimeError("no trial without an executable")
        return self._executable

    def _timed(self, calls: int, discarded: int) -> list[float]:
        executable = self._compiled()
        if not self._hosted:
            return executable.time(self._inputs, calls=calls, discarded=discarded)[0]
        # What a session of it will cost includes the way there.
        seconds = []
        for i in range(discarded + calls):
            start = time.perf_counter()
            executable.run(self._inputs)
            if i >= discarded:
                seconds.append(time.perf_counter() - start)
        return seconds
