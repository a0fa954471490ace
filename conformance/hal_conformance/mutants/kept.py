"""Results of the self-test on disk, an operator a file, so that a run goes on where one stopped."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import json
from collections.abc import Iterable, Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hal import Device
from hal.paths import cache_dir
from hal_conformance.case import Case
from hal_conformance.casefile import write_atomically
from hal_conformance.digests import case_digest
from hal_conformance.mutants.bench import Control, OperatorResult, Verdict

if TYPE_CHECKING:
    from importlib.abc import Traversable

__all__ = ["Kept"]

_JUDGES = ("hal.compare", "hal_conformance.judge", "hal_conformance.random_outputs")

_AFTERWARDS = frozenset({"equivalent", "score.py"})
"""What reads results, and makes none."""


class Kept:
    """What was found before. A result is taken up only where the cases, the faults, the judge and
    the correct engine are the same; `request` says in words what was asked for."""

    def __init__(self, request: str, device: Device, backend: object) -> None:
        digest = hashlib.sha256(request.encode())
        self._folder = cache_dir() / "selftest" / digest.hexdigest()[:12]
        digest.update(repr((device.id, sorted(device.versions.items()))).encode())
        engine = inspect.getmodule(type(backend))
        packages = ["hal_conformance.mutants", engine.__name__.partition(".")[0] if engine else ""]
        for package in filter(None, packages):
            for file in _sources(resources.files(package)):
                digest.update(file.read_bytes())
        for module in _JUDGES:
            package, _, name = module.rpartition(".")
            digest.update((resources.files(package) / f"{name}.py").read_bytes())
        self._made_by = digest

    def key(self, cases: Iterable[Case]) -> str:
        """The same where an operator's result must be the same."""
        digest = self._made_by.copy()
        for case in cases:
            facts = (case.id, case.rtol, case.atol, case.disputed, case.judge)
            digest.update(repr((facts, case_digest(case))).encode())
        return digest.hexdigest()

    def load(self, operator: str, key: str) -> OperatorResult | None:
        """The operator's result under that key; None where there is none, or no whole one."""
        try:
            data = json.loads(self._path(operator).read_text(encoding="utf-8"))
            return _result(data["result"]) if data["key"] == key else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def save(self, result: OperatorResult, key: str) -> None:
        """Keep a result in place of the operator's earlier one; a full disk only loses it."""
        data = {"key": key, "result": dataclasses.asdict(result)}
        try:
            write_atomically(self._path(result.operator), json.dumps(data).encode())
        except OSError:
            return

    def _path(self, operator: str) -> Path:
        return self._folder / f"{operator.replace('::', '.')}.json"


def _result(data: Mapping[str, Any]) -> OperatorResult:
    return OperatorResult(
        data["operator"],
        tuple(Verdict(**verdict) for verdict in data["verdicts"]),
        Control(**data["control"]),
    )


def _sources(folder: Traversable) -> Iterator[Traversable]:
    for entry in sorted(folder.iterdir(), key=lambda e: e.name):
        if entry.name in _AFTERWARDS or entry.name == "__pycache__":
            continue
        if entry.name.endswith(".py"):
            yield entry
        elif entry.is_dir():
            yield from _sources(entry)
