"""A suite whose cases are made once and cached in one mapped file.

A warm suite is that file: neither onnx is imported nor a tensor read before a case is loaded.
"""

from __future__ import annotations

import abc
import importlib.metadata
import logging
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from hal.errors import AbsentError, DataError, UsageError, did_you_mean
from hal.paths import cache_dir
from hal_conformance.case import Case, CaseFacts
from hal_conformance.casefile import FORMAT, CaseFile, encode_cases, write_atomically

__all__ = ["CachedSuite", "distribution_version"]

_log = logging.getLogger(__name__)


class CachedSuite(abc.ABC):
    """See `hal_conformance.case.Suite`. Subclasses set `name` and implement `make_cases`; `key`
    changes with whatever the cases are made from."""

    name: str

    def __init__(self, version: str, key: str) -> None:
        self.version = version
        self._lock = threading.Lock()
        self._path = cache_dir() / "suites" / f"{key}-{FORMAT}.cases"
        self._file = self._open()

    @abc.abstractmethod
    def make_cases(self) -> Iterable[Case]:
        """The cases, made anew: seconds of work."""

    def __len__(self) -> int:
        return len(self._file.facts)

    def __iter__(self) -> Iterator[CaseFacts]:
        return iter(self._file.facts.values())

    def facts(self, case_id: str) -> CaseFacts:
        """The facts of one case. Raises UsageError if there is no such case."""
        try:
            return self._file.facts[case_id]
        except KeyError:
            raise UsageError(
                f"the suite {self.name} has no case {case_id!r}."
                f"{did_you_mean(case_id, self._file.facts)}"
            ) from None

    def load(self, case_id: str) -> Case:
        """One case whole; its tensors view the mapped file. May be called from several threads."""
        self.facts(case_id)
        file = self._file
        try:
            return file.load(case_id)
        except DataError as error:
            with self._lock:
                if self._file is file:
                    self._file = self._rebuild(str(error))
                return self._file.load(case_id)

    def _open(self) -> CaseFile:
        try:
            return CaseFile.open(self._path)
        except OSError:
            return self._rebuild("")  # what keeps it from being read may show when it is written
        except DataError as error:
            return self._rebuild(str(error))

    def _rebuild(self, damage: str) -> CaseFile:
        if damage:
            _log.warning("%s; the cases are made anew", damage)
        data = encode_cases(self.make_cases())
        try:
            write_atomically(self._path, data)
        except OSError as error:
            _log.warning(
                "the cases are kept in memory only, and made again next time: %s: %s",
                self._path.parent,
                error.strerror or error,
            )
            return CaseFile(data, "memory")
        return _open_written(self._path, data)


def distribution_version(distribution: str, suite: str) -> str:
    """The version of what a suite is made from. Raises AbsentError if it is not installed."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        raise AbsentError(
            f"the suite {suite} needs the {distribution} package",
            next_step=f"pip install {distribution}",
        ) from None


def _open_written(path: Path, data: bytes) -> CaseFile:
    try:
        return CaseFile.open(path)
    except (DataError, OSError):
        # Removed or overwritten since: the cache may be another process's to clear.
        return CaseFile(data, "memory")
