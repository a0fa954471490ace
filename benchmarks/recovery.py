"""How long a session takes to answer after the process of its engine was killed under load.

In each round four threads ask for 1,000 answers together, and the process is killed once, a quarter
of the way; with a warm standby, and without. Counted is which answers are right; the recovery is
the longest that any request waited. Beside it, in the same run: what opening the engine costs, and
what the longest request of an undisturbed load took.

    python benchmarks/recovery.py [--model FILE] [--device ort:cpu] [--rounds 5]
"""

from __future__ import annotations

import argparse
import itertools
import os
import signal
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

import hal
from hal.graph import read_model
from hal.inputs import draw_inputs

PAUSE = 0.5
REQUESTS = 1000
THREADS = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--model", type=Path, help="an ONNX file (default: mobilenet_v2 of the zoo)"
    )
    parser.add_argument("--device", default="ort:cpu")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    model = hal.Model.from_path(arguments.model) if arguments.model else _zoo()
    feeds = {n: v.numpy() for n, v in draw_inputs(read_model(model)).items()}  # type: ignore[union-attr]
    seconds: dict[str, list[float]] = {"open": [], "undisturbed": [], "standby": [], "cold": []}
    right: dict[str, list[int]] = {"undisturbed": [], "standby": [], "cold": []}
    for _ in range(arguments.rounds):
        seconds["open"].append(_opened(model, arguments.device, feeds))
        for way in right:
            with hal.load(
                model, device=arguments.device, isolate=True, standby=way == "standby"
            ) as session:
                expected = session.run(None, feeds)
                _warm(session)
                longest, count = _load(session, feeds, expected, kill=way != "undisturbed")
                seconds[way].append(longest)
                right[way].append(count)
    print(f"{arguments.device}, {arguments.rounds} rounds; seconds: median (least to most)")
    for name, times in seconds.items():
        counted = f"  {min(right[name])} of {REQUESTS} right, at least" if name in right else ""
        print(
            f"{name:>11}  {statistics.median(times):.3f} ({min(times):.3f} to {max(times):.3f})"
            f"{counted}"
        )
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    print(f"recovery with a warm standby: {medians['standby']:.3f} s (bound 1)")
    print(f"recovery without, beyond opening: {medians['cold'] - medians['open']:.3f} s (bound 1)")


def _load(
    session: hal.Session, feeds: dict[str, Any], expected: list[Any], *, kill: bool
) -> tuple[float, int]:
    """The longest request in seconds, and how many answers were right."""
    count = itertools.count(1)

    def one(_: int) -> tuple[float, bool]:
        if next(count) == REQUESTS // 4 and kill:
            os.kill(_pid(session), signal.SIGKILL)
        start = time.perf_counter()
        try:
            found = session.run(None, feeds)
        except hal.HalError:
            return time.perf_counter() - start, False
        spent = time.perf_counter() - start
        return spent, all(
            np.allclose(a, b, 1e-3, 1e-5) for a, b in zip(expected, found, strict=True)
        )

    with ThreadPoolExecutor(THREADS) as pool:
        done = list(pool.map(one, range(REQUESTS)))
    return max(spent for spent, _ in done), sum(right for _, right in done)


def _zoo() -> hal.Model:
    from hal_conformance.models import load

    return load("mobilenet_v2")


def _opened(model: hal.Model, device: str, feeds: dict[str, Any]) -> float:
    """Seconds from nothing to the first answer."""
    start = time.perf_counter()
    with hal.load(model, device=device, isolate=True) as session:
        session.run(None, feeds)
        return time.perf_counter() - start


def _warm(session: Any) -> None:
    """Wait until the standby, if there is one, is open."""
    warming = session._engine._warming
    if warming is not None:
        warming.join()
    time.sleep(PAUSE)


def _pid(session: Any) -> int:
    found = session._engine._current.engine.host.pid
    assert isinstance(found, int)
    return found


if __name__ == "__main__":
    main()
