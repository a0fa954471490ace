"""The journal of a run: every result on disk the moment it is known, so that a killed run resumes.

A run appends to a file of its own, so two runs at once disturb neither. `resume` reads all files of
the same key; a run that starts anew removes those that no living process writes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import psutil

from hal.backend import Option
from hal.device import Device
from hal.paths import data_dir
from hal_conformance.report import CaseResult, result_from_json, result_to_json

__all__ = ["Journal"]


class Journal:
    """Results of one device and suite, at the same versions and compiled with the same options.

    `problem` is empty, or says why results can no longer be written (a full disk): the run goes on,
    only resuming is lost.
    """

    def __init__(
        self, device: Device, suite: str, options: Mapping[str, Option], *, resume: bool
    ) -> None:
        facts = json.dumps([device.id, dict(device.versions), suite, dict(options)], sort_keys=True)
        key = hashlib.sha256(facts.encode()).hexdigest()[:16]
        self.folder = data_dir() / "runs" / f"{device.id.replace(':', '-').replace('/', '-')}-{key}"
        self.problem = ""
        self.results: dict[str, CaseResult] = {}
        self._file: IO[str] | None = None
        try:
            if resume:
                self.results = self._read()
            else:
                self._remove_stale()
            self.folder.mkdir(parents=True, exist_ok=True)
            name = f"{time.time_ns()}-{os.getpid()}.jsonl"
            self._file = (self.folder / name).open("x", encoding="utf-8")
        except OSError as error:
            self._give_up(error)

    def add(self, result: CaseResult) -> None:
        """Append one result; it survives the death of this process from here on."""
        self.results[result.id] = result
        if self._file is None:
            return
        try:
            self._file.write(json.dumps(result_to_json(result)) + "\n")
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

    def _read(self) -> dict[str, CaseResult]:
        results: dict[str, CaseResult] = {}
        for path in sorted(self.folder.glob("*.jsonl")):
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
                try:
                    result = result_from_json(json.loads(line))
                except (ValueError, KeyError, TypeError):
                    continue  # the last line of a run that was killed while it wrote
                results[result.id] = result
        return results

    def _remove_stale(self) -> None:
        for path in self.folder.glob("*.jsonl"):
            if not psutil.pid_exists(_pid(path)):
                path.unlink(missing_ok=True)


def _pid(path: Path) -> int:
    text = path.stem.rpartition("-")[2]
    return int(text) if text.isdigit() else 0
