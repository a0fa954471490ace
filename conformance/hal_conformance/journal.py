"""The journal of a run: every result on disk the moment it is known, so that a killed run resumes.

A run appends to a file of its own, so two runs at once disturb neither. `resume` reads all files of
the same key; a run that starts anew removes those that no living process writes and of which it
runs every case. So a look at one case takes nothing from a run of the whole suite that was cut off.

The first line of a file says what is run. Each line has a seal, a digest of it and of the seal
before: a line that is edited, left out or put in breaks the chain (docs/submissions.md).
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import IO, Any, Protocol

import psutil

from hal.backend import Option
from hal.device import Device
from hal.paths import data_dir
from hal_conformance.report import CaseResult, result_from_json, result_to_json

__all__ = ["SCHEMA", "Journal", "Keeper", "Log", "Memory", "read_log", "sealed"]

SCHEMA = "hal.journal/1"
_SEAL_LENGTH = 32


def sealed(data: dict[str, Any], before: str) -> tuple[str, str]:
    """A line of a journal, and its seal; `before` is the seal of the line before it."""
    text = json.dumps(data)
    seal = hashlib.sha256((before + text).encode()).hexdigest()[:_SEAL_LENGTH]
    return f'{text[:-1]}, "seal": "{seal}"}}', seal


class Keeper(Protocol):
    """Where a run puts its results, and finds those that it need not find again."""

    results: dict[str, CaseResult]
    unconfirmed: dict[str, CaseResult]
    """What ended its host beside other cases, and is no result before it is repeated."""

    def add(self, result: CaseResult, digest: str = "") -> None: ...

    def doubt(self, result: CaseResult) -> None: ...

    def close(self) -> None: ...


class Memory:
    """A keeper for this process alone: nothing is written, and no journal is disturbed."""

    def __init__(self) -> None:
        self.results: dict[str, CaseResult] = {}
        self.unconfirmed: dict[str, CaseResult] = {}

    def add(self, result: CaseResult, digest: str = "") -> None:
        self.results[result.id] = result

    def doubt(self, result: CaseResult) -> None:
        self.unconfirmed[result.id] = result

    def close(self) -> None:
        pass


class Journal:
    """Results of one device and suite, at the same versions and compiled with the same options.

    `case_ids` are the cases that the run is of.
    `parts` are the files that `results` come from, this run's own last. `problem` is empty, or says
    why results can no longer be written (a full disk): the run goes on, only resuming is lost.
    """

    def __init__(
        self,
        device: Device,
        suite: str,
        options: Mapping[str, Option],
        case_ids: Collection[str],
        *,
        resume: bool,
    ) -> None:
        facts = json.dumps([device.id, dict(device.versions), suite, dict(options)], sort_keys=True)
        key = hashlib.sha256(facts.encode()).hexdigest()[:16]
        self.folder = data_dir() / "runs" / f"{device.id.replace(':', '-').replace('/', '-')}-{key}"
        self.problem = ""
        self.results: dict[str, CaseResult] = {}
        self.unconfirmed: dict[str, CaseResult] = {}
        self.parts: list[Path] = []
        self.device, self.suite = device, suite
        self._seal = ""
        self._file: IO[str] | None = None
        header = {
            "schema": SCHEMA,
            "device": device.id,
            "versions": dict(device.versions),
            "suite": suite,
            "options": dict(options),
        }
        try:
            if resume:
                header["after"] = self._read()
            else:
                self._remove_stale(frozenset(case_ids))
            self.folder.mkdir(parents=True, exist_ok=True)
            path = self.folder / f"{time.time_ns()}-{os.getpid()}.jsonl"
            self._file = path.open("x", encoding="utf-8")
        except OSError as error:
            self._give_up(error)
        else:
            self.parts.append(path)
            self._append(header)

    def add(self, result: CaseResult, digest: str = "") -> None:
        """Append one result; it survives the death of this process from here on. `digest` is that
        of the case, see `hal_conformance.digests`."""
        self.results[result.id] = result
        self._append({**result_to_json(result), "digest": digest})

    def doubt(self, result: CaseResult) -> None:
        """Append what has still to be repeated, so that a run that resumes repeats it at once."""
        self.unconfirmed[result.id] = result
        self._append({**result_to_json(result), "unconfirmed": True})

    def _append(self, data: dict[str, Any]) -> None:
        if self._file is None:
            return
        line, self._seal = sealed(data, self._seal)
        try:
            self._file.write(line + "\n")
            self._file.flush()
        except OSError as error:
            self._give_up(error)

    def close(self) -> None:
        if self._file is not None:
            try:
                self._file.close()
            except OSError as error:
                self._give_up(error)
            self._file = None

    def _give_up(self, error: OSError) -> None:
        self.problem = f"results cannot be kept for --resume: {error.strerror or error}"
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):
                file.close()  # what is buffered cannot be written either

    def text(self) -> str:
        """All of `parts`, in the order in which they were begun. Raises OSError."""
        texts = (p.read_text(encoding="utf-8", errors="replace") for p in self.parts)
        return "".join(f"{text.rstrip()}\n" for text in texts)

    def _read(self) -> list[str]:
        """Take up what earlier runs found; gives the seals of their last lines."""
        seals = []
        for path in sorted(self.folder.glob("*.jsonl")):
            log = read_log(path.read_text(encoding="utf-8", errors="replace"))
            self.results.update(log.results)
            self.unconfirmed.update(log.unconfirmed)
            self.parts.append(path)
            seals.append(log.seal)
        return [seal for seal in seals if seal]

    def _remove_stale(self, case_ids: frozenset[str]) -> None:
        for path in self.folder.glob("*.jsonl"):
            if psutil.pid_exists(_pid(path)):
                continue
            log = read_log(path.read_text(encoding="utf-8", errors="replace"))
            if case_ids.issuperset(log.results) and case_ids.issuperset(log.unconfirmed):
                path.unlink(missing_ok=True)


def _pid(path: Path) -> int:
    text = path.stem.rpartition("-")[2]
    return int(text) if text.isdigit() else 0


@dataclasses.dataclass(frozen=True)
class Log:
    """The lines of one or several journals, in the order in which they were written.

    `headers` are the first lines, `digests` those of the cases, `seal` that of the last line, and
    `unconfirmed` what ended its host and was not repeated when it was written.
    `broken` is "", or says where the chain of seals does not hold.
    """

    headers: tuple[dict[str, Any], ...]
    results: Mapping[str, CaseResult]
    digests: Mapping[str, str]
    seal: str = ""
    broken: str = ""
    unconfirmed: Mapping[str, CaseResult] = dataclasses.field(default_factory=dict)


def read_log(text: str) -> Log:
    """The results in a journal's text. Lines that are none are skipped: the last one of a run that
    was killed while it wrote."""
    headers: list[dict[str, Any]] = []
    results: dict[str, CaseResult] = {}
    unconfirmed: dict[str, CaseResult] = {}
    digests: dict[str, str] = {}
    seals: set[str] = set()
    seal = broken = ""
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            data = json.loads(line)
            said = data.pop("seal", "")
            header = data.get("schema") == SCHEMA
            result = None if header else result_from_json(data)
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
        if header:
            headers.append(data)
        elif not headers:
            broken = broken or f"line {number} stands before any header"
        if said != sealed(data, "" if header else seal)[1]:
            broken = broken or f"line {number} and its seal do not belong together"
        seal = str(said)
        seals.add(seal)
        if result is not None and data.get("unconfirmed"):
            unconfirmed[result.id] = result
        elif result is not None:
            results[result.id] = result
            digests[result.id] = str(data.get("digest", ""))
    if any(not seals.issuperset(_texts(header.get("after"))) for header in headers):
        broken = broken or "the end of an earlier part is missing"
    return Log(tuple(headers), results, digests, seal, broken, unconfirmed)


def _texts(value: object) -> set[str]:
    return {str(item) for item in value} if isinstance(value, list) else set()
