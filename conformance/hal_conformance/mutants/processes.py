"""The processes that judge mutants. A wrong kernel that ends its process costs that case alone."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import queue
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, Protocol

from hal.errors import CrashError
from hal_conformance.mutants.bench import OperatorResult

__all__ = ["Processes", "Worker"]

_MEMORY = 6 << 30
"""Bytes that a process may use: a wrong kernel may ask for any amount, and gets an error."""


class Worker(Protocol):
    """What judges in a process."""

    def judge(self, key: str, died: frozenset[str], note: Path) -> OperatorResult:
        """The result of an operator; `note` is written before each run, `died` has the notes of
        earlier processes that did not survive theirs."""


class Processes:
    """So many processes, each with a worker of its own and replaced when it dies."""

    def __init__(self, worker: Callable[..., Worker], arguments: Sequence[Any], count: int) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="hal-selftest-")
        self._threads = concurrent.futures.ThreadPoolExecutor(count)
        self._all = [
            _Process(worker, arguments, Path(self._folder.name) / str(i)) for i in range(count)
        ]
        self._free: queue.SimpleQueue[_Process] = queue.SimpleQueue()
        for process in self._all:
            self._free.put(process)

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        for process in self._all:
            process.stop()
        self._threads.shutdown()
        self._folder.cleanup()

    def judge(self, keys: Sequence[str]) -> Iterator[OperatorResult]:
        """The results of these operators, as they come. Raises CrashError where a process cannot
        be started, or dies twice on the same."""
        futures = [self._threads.submit(self._judge, key) for key in keys]
        for future in concurrent.futures.as_completed(futures):
            yield future.result()

    def _judge(self, key: str) -> OperatorResult:
        process = self._free.get()
        try:
            return process.judge(key)
        finally:
            self._free.put(process)


class _Process:
    def __init__(self, worker: Callable[..., Worker], arguments: Sequence[Any], note: Path) -> None:
        self._start = (worker, tuple(arguments), note)
        self._note = note
        self._stopped = False
        self._pool: concurrent.futures.ProcessPoolExecutor | None = None

    def judge(self, key: str) -> OperatorResult:
        died: set[str] = set()
        while True:
            self._note.write_text("", encoding="utf-8")
            try:
                return self._running().submit(_judge, key, frozenset(died)).result()
            except BrokenProcessPool:
                self._pool = None
                at = self._note.read_text(encoding="utf-8")
                if self._stopped or not at or at in died:
                    raise CrashError(
                        f"a process of the self-test died on {key}"
                        + (f", in {at}" if at else " before it ran anything"),
                        next_step="hal-conformance selftest --jobs 1 --resume needs less memory; "
                        "what was found is kept",
                    ) from None
                died.add(at)

    def stop(self) -> None:
        self._stopped = True
        if self._pool is not None:
            for process in list((self._pool._processes or {}).values()):
                process.terminate()
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _running(self) -> concurrent.futures.ProcessPoolExecutor:
        if self._pool is None:
            self._pool = concurrent.futures.ProcessPoolExecutor(
                1, multiprocessing.get_context("spawn"), _begin, self._start
            )
        return self._pool


_worker: tuple[Worker, Path] | None = None


def _begin(worker: Callable[..., Worker], arguments: tuple[Any, ...], note: Path) -> None:
    global _worker
    _limit_memory()
    _worker = worker(*arguments), note


def _judge(key: str, died: frozenset[str]) -> OperatorResult:
    if _worker is None:
        raise RuntimeError("the worker was not started")
    worker, note = _worker
    return worker.judge(key, died, note)


def _limit_memory() -> None:
    if os.name == "posix":
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        most = _MEMORY if hard == resource.RLIM_INFINITY else min(_MEMORY, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (most, hard))
