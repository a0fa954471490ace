"""How much a host process costs: a tiny tensor there and back, and a 100 MB one against memcpy.

    python benchmarks/host_roundtrip.py [--json]

Everything is timed side by side in one run, in blocks (hal.timing). The bound for the large tensor
is 1.5 times one memcpy each way; for the tiny one it is 150 microseconds.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

import hal
from hal.host import Host
from hal.timing import time_blocks

PLUGIN = """
import hal

class Identity:
    def run(self, inputs): return inputs

class Backend:
    def devices(self): return [hal.Device("identity:cpu", "cpu")]
    def supports(self, device, model): return hal.Support()
    def compile(self, device, model, options): return Identity()

@hal.hookimpl
def hal_backends(): return [hal.BackendSpec("identity", Backend)]
"""
LARGE = 25_000_000  # float32: 100 MB
TINY_CALLS, LARGE_CALLS = 500, 7


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "identity_plugin.py").write_text(PLUGIN)
        path = os.pathsep.join(filter(None, [folder, os.environ.get("PYTHONPATH")]))
        rows = measure({"PYTHONPATH": path})
    if arguments.json:
        print(json.dumps(rows, indent=2))
        return 0
    for name, row in rows.items():
        bound = f"bound {row['bound']:g}" if row["bound"] else ""
        print(f"{name:44} {row['value']:9.4g} {row['unit']:4} spread {row['spread']:.2f}  {bound}")
    return 0


def measure(env: dict[str, str]) -> dict[str, dict[str, float | str]]:
    """Start, tiny and large round trips; the ratios are those of medians over the rounds."""
    tiny = {"x": hal.Tensor.from_numpy(np.ones(4, np.float32))}
    source = np.random.default_rng(0).random(LARGE, np.float32)
    there, back = np.empty_like(source), np.empty_like(source)
    large = {"x": hal.Tensor.from_numpy(source)}

    def memcpy() -> None:
        np.copyto(there, source)
        np.copyto(back, there)

    def start() -> None:
        with Host("identity_plugin", "identity", env=env) as host:
            host.ping()

    with (
        Host("identity_plugin", "identity", env=env) as mapped,
        Host("identity_plugin", "identity", env=env, shared_memory=False) as streamed,
    ):
        model = hal.Model(b"identity")
        by_map = mapped.compile("identity:cpu", model)
        by_stream = streamed.compile("identity:cpu", model)
        np.testing.assert_array_equal(by_map.run(large)["x"].numpy(), source)  # type: ignore[union-attr]
        small = time_blocks({"tiny": lambda: by_map.run(tiny)}, calls=TINY_CALLS, rounds=5)
        candidates: dict[str, Callable[[], object]] = {
            "memcpy": memcpy,
            "mapped": lambda: by_map.run(large),
            "streamed": lambda: by_stream.run(large),
            "start": start,
        }
        timed = {**small, **time_blocks(candidates, calls=LARGE_CALLS, rounds=5)}
    base = timed["memcpy"]

    def row(name: str, bound: float, unit: str) -> dict[str, float | str]:
        timing = timed[name]
        if unit == "x":  # a ratio's spread is that of the ratios of the rounds
            ratios = [a / b for a, b in zip(timing.blocks, base.blocks, strict=True)]
            value, spread = timing.median / base.median, max(ratios) / min(ratios)
        else:
            value = timing.median * {"us": 1e6, "ms": 1e3}[unit]
            spread = timing.spread
        return {"value": value, "unit": unit, "spread": spread, "bound": bound}

    return {
        "tiny round trip": row("tiny", 150, "us"),
        "start, first answer, end": row("start", 0, "ms"),
        "one memcpy of 100 MB each way": row("memcpy", 0, "ms"),
        "100 MB round trip by map / memcpy each way": row("mapped", 1.5, "x"),
        "100 MB round trip by stream / memcpy each way": row("streamed", 0, "x"),
    }


if __name__ == "__main__":
    sys.exit(main())
