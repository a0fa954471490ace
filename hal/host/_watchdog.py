"""One thread per process that holds every call in flight to its time and memory limits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import psutil

from hal.errors import DeadlineError, HostError, MemoryLimitError

__all__ = ["Watch", "amount", "resident"]

_TICK = 0.025
_CHILDREN_EVERY = 20  # ticks: listing a process's children reads every process of the system
_PARK_AFTER = 40  # ticks without a call


def amount(size: int) -> str:
    """Bytes for people, e.g. "4 GiB"."""
    for unit, power in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if size >= 1 << power:
            return f"{size / (1 << power):.4g} {unit}"
    return f"{size} bytes"


def resident(process: psutil.Process, *, children: bool = True) -> int:
    """Resident bytes of a process and, on request, of all that it started; 0 once it is dead."""
    total = 0
    try:
        total = process.memory_info().rss
        for child in process.children(recursive=True) if children else ():
            total += child.memory_info().rss
    except psutil.Error:
        pass  # one of them ended just now; the next tick looks again
    return total


class Watch:
    """The limits of one host process: `memory` in bytes, and a time for each call. `verdict` is set
    when a limit was broken, just before the process is killed; a call that is over cannot break
    one any more."""

    def __init__(
        self, pid: int, memory: int, dead: Callable[[], bool], kill: Callable[[], None]
    ) -> None:
        try:
            self._process: psutil.Process | None = psutil.Process(pid)
        except psutil.Error:  # dead already: the read that follows says so
            self._process = None
        self.memory = memory
        self._dead = dead
        self._kill = kill
        self._lock = threading.Lock()
        self._operation = ""
        self._timeout = 0.0
        self._deadline = 0.0
        self._ticks = 0
        self._children = 0
        self._idle = 0
        self.verdict: HostError | None = None

    def rest(self) -> None:
        """Take what the process holds now as that of the idle host, over which growth counts."""
        self._idle = resident(self._process) if self._process else 0

    def arm(self, operation: str, timeout: float) -> None:
        """A call begins."""
        with self._lock:
            self._operation = operation
            self._timeout = timeout
            self._deadline = time.monotonic() + timeout
            self._ticks = 0
            self._children = 0
        _watchdog.add(self)

    def disarm(self) -> HostError | None:
        """The call is over. Returns the limit that it broke, if it did."""
        with self._lock:
            self._operation = ""
        _watchdog.remove(self)
        return self.verdict

    def check(self) -> None:
        """Kill the process if a limit is broken, or if it is dead but its children keep the stream
        open, which would let the caller wait for ever."""
        with self._lock:
            if not self._operation or self.verdict:
                return
            if time.monotonic() >= self._deadline:
                limit = f"{self._timeout:g} s in {self._operation}"
                self.verdict = DeadlineError(f"timed out after {limit}")
            elif self._grown() > self.memory:
                limit = f"{amount(self.memory)} in {self._operation}"
                self.verdict = MemoryLimitError(f"grew past {limit}")
            if self.verdict or self._dead():
                self._kill()

    def _grown(self) -> int:
        if self._process is None:
            return 0
        self._ticks += 1
        own = resident(self._process, children=False)
        if self._ticks % _CHILDREN_EVERY == 0:
            self._children = max(0, resident(self._process) - own)
        return own + self._children - self._idle


class _Watchdog:
    """The thread, started with the first call and asleep while there is none."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._armed: dict[int, Watch] = {}
        self._thread: threading.Thread | None = None
        self._parked = False

    def add(self, watch: Watch) -> None:
        with self._changed:
            self._armed[id(watch)] = watch
            if self._thread is None or not self._thread.is_alive():  # a fork has no threads
                self._parked = False
                self._thread = threading.Thread(target=self._loop, name="hal-watchdog", daemon=True)
                self._thread.start()
            elif self._parked:
                self._changed.notify()

    def remove(self, watch: Watch) -> None:
        with self._changed:
            self._armed.pop(id(watch), None)

    def _loop(self) -> None:
        idle = 0
        while True:
            with self._changed:
                idle = 0 if self._armed else idle + 1
                if idle > _PARK_AFTER:
                    self._parked = True
                    self._changed.wait()
                    self._parked = False
                    idle = 0
                armed = list(self._armed.values())
            for watch in armed:
                watch.check()
            time.sleep(_TICK)


_watchdog = _Watchdog()
