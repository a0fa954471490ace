"""A host process as its parent sees it: started, spoken to, ended, and why it died."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress

from hal.errors import CrashError, DeadlineError, HostError, ProtocolError, UnavailableError
from hal.host._shared import SharedFiles
from hal.host._watchdog import Watch
from hal.host._wire import PROTOCOL, Channel

__all__ = ["HostProcess"]

_KEPT = 8 << 10  # bytes of standard error
_SKIP = 64 << 10  # bytes that a login shell may print before the host speaks
_SIGNALLED, _LOST = 128, 255  # exit codes of a shell, and of ssh
_PATIENCE = 1.0  # seconds for a process to end by itself, then on request


class HostProcess:
    """One process that serves a backend. `watch` holds its calls to their limits. `remote` names
    the machine that the command reaches through ssh.

    Raises UnavailableError when the command cannot be started.
    """

    def __init__(
        self,
        command: Sequence[str],
        env: Mapping[str, str],
        *,
        memory: int,
        shared: bool,
        remote: str = "",
    ) -> None:
        self.command = tuple(command)
        self.remote = remote
        self.files: SharedFiles | None = None
        # Executables to forget there; finalizers fill it, which may run at any moment.
        self.dropped: deque[int] = deque()
        posix = sys.platform != "win32"
        if shared and posix:
            with suppress(OSError):  # no room or no descriptors: the stream carries everything
                self.files = SharedFiles()
        (its_input, sink), (source, its_output), (errors, its_errors) = (
            os.pipe() for _ in range(3)
        )
        try:
            popen = subprocess.Popen(
                self.command,
                stdin=its_input,
                stdout=its_output,
                stderr=its_errors,
                env=dict(env),
                pass_fds=self.files.descriptors if self.files else (),
                start_new_session=posix,  # Ctrl-C is for the parent, which then ends its hosts
            )
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            self._close_files()
            for descriptor in (source, sink, errors):
                os.close(descriptor)
            raise UnavailableError(
                f"cannot start {self.command[0]!r}: {reason}",
                next_step="check the command that starts the host",
            ) from None
        finally:
            for descriptor in (its_input, its_output, its_errors):
                os.close(descriptor)
        self.channel = Channel(source, sink, payload_limit=memory)
        self._popen = popen
        self._owner = os.getpid()
        self._ended = False
        self._tail = bytearray()
        self._drain = threading.Thread(
            target=_drain, args=(errors, self._tail), name="hal-host-stderr", daemon=True
        )
        self._drain.start()
        group = popen.pid if posix else None
        self.watch = Watch(
            popen.pid, memory, lambda: popen.poll() is not None, lambda: _kill(popen, group)
        )
        self._group = group

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def dead(self) -> bool:
        """Whether the process has ended."""
        return self._popen.poll() is not None

    def limit_memory(self, memory: int) -> None:
        """Let the process grow by `memory` bytes in the calls to come."""
        self.watch.memory = memory
        self.channel.payload_limit = memory

    def greet(self, timeout: float) -> None:
        """Exchange the first messages: both ends are of one protocol, and do they share memory?

        Raises UnavailableError when the command ends without a word, a HostError when it crashes,
        hangs or speaks something else.
        """
        request = {"op": "hello", "seq": 0, "limit": timeout, "protocol": PROTOCOL}
        if self.files:
            request |= {"fds": self.files.descriptors, "nonce": self.files.nonce}
        self.watch.arm("start", timeout)
        failure: Exception | None = None
        try:
            self.channel.send(request)
            reply, _ = self.channel.receive(skip=_SKIP)
        except (EOFError, OSError, ProtocolError) as error:
            failure = error
        verdict = self.watch.disarm()
        if failure or verdict:
            raise self._no_greeting(failure, verdict)
        if "python" not in reply:
            raise ProtocolError(f"{self.command[0]!r} is no host: it answers {str(reply)[:80]}")
        if reply.get("protocol") != PROTOCOL:
            spoken = reply.get("protocol")
            raise UnavailableError(
                f"{self.command[0]!r} answers with protocol {spoken!r}, not {PROTOCOL}",
                next_step="install the same version of hal-core on both sides",
            )
        if not reply.get("shared"):
            self._close_files()
        self.watch.rest()

    def _no_greeting(self, failure: Exception | None, verdict: HostError | None) -> Exception:
        error = self.autopsy("start", failure, verdict)
        status = self._popen.returncode
        if verdict or status is None or status < 0:
            return error
        lines = error.traceback.strip().splitlines()
        said = f": {lines[-1].strip()}" if lines else ""
        if self.remote:
            return UnavailableError(
                f"the machine {self.remote!r} did not answer{said or f': code {status}'}",
                next_step=f"hal remote list; is it up, and can ssh get in? ({self.remote})",
            )
        unavailable = UnavailableError(
            f"{self.command[0]!r} ended with code {status} before it answered{said}",
            next_step="run the command by hand; it must start Python with hal-core and NumPy",
        )
        unavailable.traceback = error.traceback
        return unavailable

    def autopsy(
        self, operation: str, failure: Exception | None, verdict: HostError | None
    ) -> HostError:
        """End the process after a call that failed, and return why it did."""
        alive = False
        try:
            self._popen.wait(_PATIENCE if isinstance(failure, (EOFError, OSError)) else 0)
        except subprocess.TimeoutExpired:
            alive = True
        self.kill()
        status = self._popen.returncode
        if self.remote and _SIGNALLED < status < _LOST:  # as its shell tells it
            status = _SIGNALLED - status
        if verdict is not None:
            error = verdict
        elif isinstance(failure, ProtocolError) and alive:
            error = ProtocolError(f"spoke no protocol in {operation}: {failure}")
        elif alive:
            error = ProtocolError(f"closed its stream in {operation} without ending")
        elif self.remote and status == _LOST:
            self._drain.join(0.5)
            lines = self._tail.decode("utf-8", "replace").strip().splitlines()
            said = f": {lines[-1].strip()}" if lines else ""
            error = CrashError(f"lost the connection to {self.remote!r} in {operation}{said}")
        elif status >= 0:
            error = CrashError(f"exited with code {status} in the middle of {operation}")
        elif -status == getattr(signal, "SIGALRM", None):
            error = DeadlineError(f"timed out in {operation} and ended itself")
        else:
            error = CrashError(f"crashed with signal {-status} ({_name(-status)}) in {operation}")
        self._drain.join(0.5)
        error.traceback = self._tail.decode("utf-8", "replace")
        return error

    def kill(self) -> None:
        """End the process and all that it started, at once."""
        if self._ended:  # by now its number may be another process's
            return
        self._ended = True
        _kill(self._popen, self._group)
        with suppress(subprocess.TimeoutExpired):
            self._popen.wait(10)
        self._release()

    def end(self) -> None:
        """Let the process end by itself; then ask it to, then make it."""
        if self._ended or os.getpid() != self._owner:  # a fork of the owner must let it live
            return
        self.channel.close_sink()
        for request in (self._popen.terminate, lambda: None):
            try:
                self._popen.wait(_PATIENCE)
                break
            except subprocess.TimeoutExpired:
                request()
        self.kill()

    def _release(self) -> None:
        self.channel.close()
        self._close_files()

    def _close_files(self) -> None:
        if self.files:
            self.files.close()
            self.files = None


def _kill(popen: subprocess.Popen[bytes], group: int | None) -> None:
    if group is None:
        popen.kill()
        return
    # The group outlives its leader as long as a child of it does.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def _drain(descriptor: int, tail: bytearray) -> None:
    with os.fdopen(descriptor, "rb", buffering=0) as stream:
        while data := stream.read(_KEPT):
            tail += data
            del tail[:-_KEPT]


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"
