"""How the served side starts clean and never outlives its parent."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import select
import signal
import sys
import threading
import time

__all__ = ["Alarm", "end_orphan", "prepare", "take_streams"]

_GRACE = 2.0  # seconds for an idle host to see the end of its input by itself
_LONGEST = 1e8  # seconds that every system's timer can count
_ALARM_MARGIN = 5.0  # seconds in which the parent's own watch should have acted


def take_streams() -> tuple[int, int]:
    """Move standard input and output to descriptors that nothing else knows, and return them.

    Afterwards standard input is empty and standard output is standard error, for Python and for
    native code alike, so that a runtime that prints cannot corrupt the stream.
    """
    source, sink = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    try:
        os.dup2(2, 1)
    except OSError:  # there is no standard error
        os.dup2(null, 1)
        os.dup2(null, 2)
    os.close(null)
    if sys.platform == "win32":
        import msvcrt

        msvcrt.setmode(source, os.O_BINARY)
        msvcrt.setmode(sink, os.O_BINARY)
    return source, sink


def prepare() -> None:
    """A crash tells Python's stack on standard error and leaves no core file."""
    with contextlib.suppress(OSError, ValueError):  # there is no standard error
        faulthandler.enable(2)
    if sys.platform != "win32":
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_CORE)
        resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
        # The alarm must end the process, whatever the parent had done with the signal.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])


class Alarm:
    """The last defence, set for each call: when the parent is gone and native code holds the
    interpreter's lock, only the system can still end this process. Nothing on Windows."""

    def set(self, limit: float) -> None:
        """End the process some seconds after `limit`."""
        if sys.platform != "win32":
            signal.setitimer(signal.ITIMER_REAL, min(limit, _LONGEST) + _ALARM_MARGIN)

    def clear(self) -> None:
        if sys.platform != "win32":
            signal.setitimer(signal.ITIMER_REAL, 0)


def end_orphan(source: int) -> None:
    """Start a thread that ends this process when the other end of `source` is closed or, where
    that cannot be seen, when the parent is another process than now."""
    threading.Thread(
        target=_watch, args=(source, os.getppid()), name="hal-lifeline", daemon=True
    ).start()


def _watch(source: int, parent: int) -> None:
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(source, 0)  # hang-up is reported without being asked for
        while os.getppid() == parent and not poll.poll(1000):
            pass
    else:
        while os.getppid() == parent:
            time.sleep(1)
    time.sleep(_GRACE)
    os._exit(0)
