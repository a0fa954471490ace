"""How long a session takes to answer after the process of its engine was killed.

Beside it, in the same run: what opening the engine costs, and what an undisturbed request costs.
Each round kills the process once; rounds of the three ways alternate.

    python benchmarks/recovery.py [--model FILE] [--device ort:cpu] [--rounds 7]
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hal
from hal.graph import read_model
from hal.inputs import draw_inputs

PAUSE = 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, help="an ONNX file (default: resnet50 of the zoo)")
    parser.add_argument("--device", default="ort:cpu")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    model = hal.Model.from_path(arguments.model) if arguments.model else _zoo()
    feeds = {n: v.numpy() for n, v in draw_inputs(read_model(model)).items()}  # type: ignore[union-attr]
    seconds: dict[str, list[float]] = {"open": [], "request": [], "standby": [], "cold": []}
    for _ in range(arguments.rounds):
        seconds["open"].append(_timed(lambda: _open(model, arguments.device, feeds)))
        for way in ("standby", "cold"):
            with hal.load(
                model, device=arguments.device, isolate=True, standby=way == "standby"
            ) as session:
                session.run(None, feeds)
                time.sleep(PAUSE + 10 * (way == "standby") * seconds["open"][-1])
                seconds["request"].append(_timed(lambda s=session: s.run(None, feeds)))
                os.kill(_pid(session), signal.SIGKILL)
                seconds[way].append(_timed(lambda s=session: s.run(None, feeds)))
    print(f"{arguments.device}, {arguments.rounds} rounds; seconds: median (least to most)")
    for name, times in seconds.items():
        print(f"{name:>8}  {statistics.median(times):.3f} ({min(times):.3f} to {max(times):.3f})")
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    print(f"recovery with a warm standby: {medians['standby']:.3f} s (bound 1)")
    print(f"recovery without, beyond opening: {medians['cold'] - medians['open']:.3f} s (bound 1)")


def _zoo() -> hal.Model:
    from hal_conformance.models import load

    return load("resnet50")


def _open(model: hal.Model, device: str, feeds: dict[str, Any]) -> None:
    with hal.load(model, device=device, isolate=True) as session:
        session.run(None, feeds)


def _pid(session: Any) -> int:
    found = session._engine._current.engine.host.pid
    assert isinstance(found, int)
    return found


def _timed(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
