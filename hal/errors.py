"""Every error that HAL raises on purpose.

HalError
├── UsageError                 a name, a pattern or an option that does not exist      exit 2
├── ModelError                 a file that is not a valid ONNX model                   exit 3
├── DataError                  a report, store or input file that cannot be read       exit 3
├── OutputError                a path or a disk that cannot be written                 exit 4
├── BackendError               something under a backend
│   ├── AbsentError            its SDK is not installed                                exit 5
│   ├── UnavailableError       installed, but it cannot start here                     exit 5
│   ├── UnsupportedError       it says that it cannot run this                         exit 6
│   ├── FallbackError          it would run part of this somewhere else                exit 6
│   ├── SkewError              opset or IR newer than it accepts                       exit 6
│   ├── UnfedError             its API cannot take or give this type                   exit 6
│   ├── BrokenError            the plugin itself fails                                 exit 7
│   └── ExecutionError         the engine raised while it compiled or ran              exit 7
└── HostError                  the process that serves a backend
    ├── CrashError             it died                                                 exit 8
    ├── DeadlineError          it did not answer in time and was stopped               exit 8
    ├── MemoryLimitError       it grew past its limit and was stopped                  exit 8
    └── ProtocolError          what it sent is not the protocol                        exit 8

Exit 0 is success and 1 a gate that did not hold (a regression, `--fail-under`, a stale or
unexpected result). 130 is Ctrl-C.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import ClassVar

from hal._text import printable

__all__ = [
    "AbsentError",
    "BackendError",
    "BrokenError",
    "CrashError",
    "DataError",
    "DeadlineError",
    "ExecutionError",
    "FallbackError",
    "HalError",
    "HostError",
    "MemoryLimitError",
    "ModelError",
    "OutputError",
    "ProtocolError",
    "SkewError",
    "UnavailableError",
    "UnfedError",
    "UnsupportedError",
    "UsageError",
    "did_you_mean",
]


class HalError(Exception):
    """Base of every error that HAL raises on purpose. Its message is one line: names of models are
    untrusted, so what does not print is written as an escape.

    `next_step` is a command or an action that brings the reader further; the CLI prints it on a
    line of its own. `traceback` is what a host process left to read: the traceback of an exception
    raised there, or the last lines that it wrote before it died.
    """

    exit_code: ClassVar[int] = 1
    traceback: str = ""

    def __init__(self, message: str, *, next_step: str = "") -> None:
        super().__init__(printable(message))
        self.next_step = printable(next_step)


class UsageError(HalError):
    exit_code = 2


class ModelError(HalError):
    exit_code = 3


class DataError(HalError):
    exit_code = 3


class OutputError(HalError):
    exit_code = 4


class BackendError(HalError):
    exit_code = 7


class AbsentError(BackendError):
    exit_code = 5


class UnavailableError(BackendError):
    exit_code = 5


class UnsupportedError(BackendError):
    """The backend says that it cannot run this. `nodes` names every node at fault, all at once."""

    exit_code = 6

    def __init__(self, message: str, *, nodes: Sequence[str] = (), next_step: str = "") -> None:
        super().__init__(message, next_step=next_step)
        self.nodes = tuple(nodes)


class FallbackError(BackendError):
    """The runtime would run part of the model on another device than the one asked for, and that
    was refused. `nodes` names the nodes at fault where the runtime tells."""

    exit_code = 6

    def __init__(self, message: str, *, nodes: Sequence[str] = (), next_step: str = "") -> None:
        super().__init__(message, next_step=next_step)
        self.nodes = tuple(nodes)


class SkewError(BackendError):
    exit_code = 6


class UnfedError(BackendError):
    exit_code = 6


class BrokenError(BackendError):
    """The plugin itself fails; `traceback` keeps the text of its traceback."""

    def __init__(self, message: str, *, traceback: str = "", next_step: str = "") -> None:
        super().__init__(message, next_step=next_step)
        self.traceback = traceback


class ExecutionError(BackendError):
    pass


class HostError(HalError):
    exit_code = 8


class CrashError(HostError):
    pass


class DeadlineError(HostError):
    pass


class MemoryLimitError(HostError):
    pass


class ProtocolError(HostError):
    pass


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" for the closest of `known`, or "" when none is close."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" Did you mean {close[0]!r}?" if close else ""
