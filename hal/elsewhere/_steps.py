"""The commands that build an environment: run one by one, with everything that they say kept in a
log."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from hal.errors import HalError, OutputError, UnavailableError

__all__ = ["Progress", "Steps"]

Progress = Callable[[str], None]

_DOWNLOAD = re.compile(r"\s*Downloading (\S+)(?: \((.*)\))?")
_FULL = "No space left on device"
# Settings of pip that would install somewhere else than into the environment.
_MISLEADING = ("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_USER", "PIP_PYTHON")


class Steps:
    """The steps of building one environment, each announced, and its log."""

    def __init__(self, name: str, log: Path, progress: Progress) -> None:
        self.name = name
        self.path = log
        self.total = 0
        self._done = 0
        self._label = ""
        self._progress = progress
        self._file: IO[str] | None = None

    def __enter__(self) -> Steps:
        self._file = self.path.open("w", encoding="utf-8", errors="backslashreplace")
        return self

    def __exit__(self, *exception: object) -> None:
        if self._file is not None:
            self._file.close()

    def begin(self, label: str) -> None:
        """The next step, in words such as "install numpy==1.26.4"."""
        self._done += 1
        self._label = label
        self._say(label)
        self.write(f"# step {self._done} of {self.total}: {label}")

    def write(self, line: str) -> None:
        """A line for the log."""
        if self._file is not None:
            self._file.write(line + "\n")
            self._file.flush()

    def run(self, command: Sequence[str]) -> None:
        """Run a command of the step. Raises what `failed` gives unless it ends with 0."""
        self.write("$ " + " ".join(command))
        lines: list[str] = []
        env = {k: v for k, v in os.environ.items() if k not in _MISLEADING}
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="backslashreplace",
                env=env,
            )
        except OSError as error:
            raise self.failed(error.strerror or str(error)) from None
        try:
            for line in process.stdout or ():
                lines.append(line.strip())
                self.write(line.rstrip())
                if found := _DOWNLOAD.match(line):
                    self._say(f"{self._label}: download {found[2] or found[1]}")
            status = process.wait()
        finally:
            # Ctrl-C, or a full disk: nothing goes on behind the user's back.
            if process.poll() is None:
                process.kill()
                process.wait()
            if process.stdout:
                process.stdout.close()
        if status < 0:
            raise self.failed(f"it was ended by signal {-status}")
        if status:
            raise self.failed(_reason(lines) or f"it ended with {status}")

    def failed(self, reason: str) -> HalError:
        """The error that says that the step failed, and why."""
        message = (
            f"building {self.name} failed at step {self._done} of {self.total}, {self._label}: "
            f"{reason} (the log is {self.path})"
        )
        if _FULL in reason:
            return OutputError(message, next_step=f"make room, then: hal env create {self.name}")
        step = f"hal env create {self.name}, which goes on from there"
        return UnavailableError(message, next_step=step)

    def _say(self, text: str) -> None:
        self._progress(f"step {self._done} of {self.total}: {text}")


def _reason(lines: Sequence[str]) -> str:
    """What a failed command said of why."""
    full = [line for line in lines if _FULL in line]
    errors = [line for line in lines if line.lower().startswith("error")]
    said = [line for line in lines if line]
    return (full or errors or said or [""])[-1]
