"""Whether the ceilings and the times of `hal conformance --speed` can be relied on.

    python benchmarks/speed_ceilings.py [-d DEVICE ...] [--runs 3] [--only OPERATOR ...]

For each device and run, one after the other: what `--speed` measures, its ceilings and the
operators (`--only none`: no operators); and, in the same rounds as the ceilings, the same work by
means that know nothing of HAL: products by NumPy, by torch, and by the oneDNN in torch (a packed
linear layer, a convolution of one pixel); copies by NumPy in one thread and in all and by torch,
into memory that is there already; the best of each counts. Printed:

- ceilings: the median of the runs for both, their ratio, and the spread that the runs state; a
  ratio within 15 % is meant to hold, a star marks what is not. Copies are compared by size.
- operators: over the runs, the slowest median over the fastest, and for how many of them every two
  runs differ by no more than the larger of the spreads that these two state
"""

from __future__ import annotations

import argparse
import collections
import functools
import itertools
import os
import statistics
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from hal_conformance._speed_text import amount
from hal_conformance.report import Limits, SpeedEntry, SpeedReport
from hal_conformance.speed.run import run_speed
from hal_conformance.speed.targets import CeilingTarget, ceiling_targets, targets

from hal.plugins import load_plugins
from hal.timing import CALLS, DISCARDED

CLOSE = 0.15
DEVICES = ("ort:cpu", "openvino:cpu", "torch:cpu")
THREADS = os.cpu_count() or 1
POOL = ThreadPoolExecutor(THREADS)
Call = Callable[[], float]
"""Does the work, and gives the seconds that it took once."""
Key = tuple[str, int]
"""A ceiling: matmul or copy, and the bytes of a copy."""


def main() -> None:
    """Measure, and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-d", "--device", nargs="*", default=list(DEVICES))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=None, metavar="OPERATOR")
    arguments = parser.parse_args()
    chosen = targets(arguments.only)
    found: dict[str, list[SpeedReport]] = collections.defaultdict(list)
    plain: dict[str, list[Independent]] = collections.defaultdict(list)
    with load_plugins() as registry:
        devices = [registry.find_device(d) for d in arguments.device]
        for run in range(arguments.runs):
            for device in devices:
                print(f"run {run + 1}, {device.id}, load {os.getloadavg()[0]:.1f}", flush=True)
                other = Independent()
                reports = run_speed(registry, [device], chosen, Limits(), {}, beside=other.beside)
                found[device.id].append(reports[device.id])
                plain[device.id].append(other)
    for device_id, reports in found.items():
        show_ceilings(device_id, reports, plain[device_id])
        if chosen:
            show_operators(device_id, reports)


class Independent:
    """The work of the ceilings by NumPy and torch alone, timed in the same rounds."""

    def __init__(self) -> None:
        self._blocks: dict[Key, dict[str, list[float]]] = collections.defaultdict(dict)

    def beside(self, target: CeilingTarget) -> dict[str, Callable[[], float]]:
        """Blocks for one of the ceilings of each size."""
        if target != FIRST[target.name, target.bytes] or target.name == "call":
            return {}
        ways = products(target.bytes) if target.name == "matmul" else copies(target.bytes)
        kept = self._blocks[target.name, target.bytes]
        return {
            f"{name} {target.name} {target.bytes}": functools.partial(
                block, call, kept.setdefault(name, [])
            )
            for name, call in ways.items()
        }

    def rate(self, key: Key) -> float:
        """Of the best way, by the median of its blocks; of products the best size."""
        keys = [k for k in self._blocks if k == key or (k[0] == key[0] == "matmul")]
        return max(
            FIRST[k].work / statistics.median(b) for k in keys for b in self._blocks[k].values()
        )


FIRST: dict[Key, CeilingTarget] = {(t.name, t.bytes): t for t in reversed(ceiling_targets())}


def block(call: Call, kept: list[float]) -> float:
    """The median of the calls in 30 ms, as in HAL's own blocks."""
    for _ in range(DISCARDED):
        call()
    seconds: list[float] = []
    start = time.perf_counter()
    while len(seconds) < CALLS or time.perf_counter() - start < 0.03:
        seconds.append(call())
    kept.append(statistics.median(seconds))
    return kept[-1]


def timed(work: Callable[[], object]) -> float:
    """The seconds of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def products(size: int) -> Mapping[str, Call]:
    """Ways to make a square product."""
    import torch

    n = round((size / 12) ** 0.5)
    drawn = np.random.default_rng(0)
    a, b = drawn.random((n, n), np.float32), drawn.random((n, n), np.float32)
    out = np.empty_like(a)
    ta, tb, tout = map(torch.from_numpy, (a, b, out))
    image, pixel = ta.reshape(1, n, n // 32, 32), tb.reshape(n, n, 1, 1)
    linear = torch.ops.mkldnn._linear_pointwise
    packed = torch.ops.mkldnn._reorder_linear_weight(tb, n)
    ways: dict[str, Callable[[], object]] = {
        "numpy": lambda: np.matmul(a, b, out=out),
        "torch": lambda: torch.matmul(ta, tb, out=tout),
        "oneDNN, linear": lambda: linear(ta, packed, None, "none", [], ""),
        "oneDNN, 1x1": lambda: torch.nn.functional.conv2d(image, pixel),
    }
    return {name: functools.partial(timed, work) for name, work in ways.items()}


def copies(size: int) -> Mapping[str, Call]:
    """Ways to copy."""
    import torch

    source = np.random.default_rng(0).random(size // 8, np.float32)
    target = np.empty_like(source)
    ts, tt = torch.from_numpy(source), torch.from_numpy(target)
    return {
        "numpy": functools.partial(timed, lambda: np.copyto(target, source)),
        "numpy, threads": functools.partial(in_threads, target, source),
        "torch": functools.partial(timed, lambda: tt.copy_(ts)),
    }


def in_threads(target: np.ndarray, source: np.ndarray) -> float:
    """The seconds of one of several copies, made by all threads at once, a part of it in each."""
    repeats = max(1, round(2**26 / source.nbytes))

    def work(to: np.ndarray, of: np.ndarray) -> None:
        for _ in range(repeats):
            np.copyto(to, of)

    parts = (np.array_split(a, THREADS) for a in (target, source))
    return timed(lambda: list(POOL.map(work, *parts))) / repeats


def show_ceilings(device: str, reports: list[SpeedReport], plain: list[Independent]) -> None:
    """A row a ceiling."""
    print(f"\n{device}: ceilings, measured by --speed and by NumPy or torch, spread of --speed")
    rows: dict[Key, list[tuple[float, float, float]]] = collections.defaultdict(list)
    for report, other in zip(reports, plain, strict=True):
        for c in report.ceilings:
            key = c.name, c.bytes if c.name == "copy" else 0
            rows[key].append((c.rate, other.rate(key), c.spread))
    for (name, size), found in sorted(rows.items()):
        own, independent, spread = map(statistics.median, zip(*found, strict=True))
        unit = "B/s" if name == "copy" else "FLOP/s"
        what = f"copy of {size / 2**20:.4g} MiB" if name == "copy" else "matmul"
        print(
            f"  {what:16} {amount(own, unit):>12} {amount(independent, unit):>12} "
            f"{own / independent:5.2f} {spread:5.2f}"
            f"{'' if abs(own / independent - 1) <= CLOSE else '  *'}"
        )


def show_operators(device: str, reports: list[SpeedReport]) -> None:
    """How far the runs lie apart."""
    apart: list[float] = []
    spreads: list[float] = []
    far: list[tuple[float, str]] = []
    for entries in zip(*(r.entries for r in reports), strict=True):
        if not all(e.blocks for e in entries):
            continue
        times = [statistics.median(e.blocks) for e in entries]
        apart.append(max(times) / min(times))
        spreads += [e.spread or 1.0 for e in entries]
        worst = max(map(excess, itertools.combinations(entries, 2)), default=1.0)
        if worst > 1:
            first = entries[0]
            far.append((worst, f"{apart[-1]:.2f} apart, {first.operator} {first.shape[:60]}"))
    if not apart:
        print(f"\n{device}: no operator has a time in every run")
        return
    print(
        f"\n{device}: {len(apart)} operators and sizes in {len(reports)} runs: slowest over "
        f"fastest, median {statistics.median(apart):.3f}, "
        f"geomean {statistics.geometric_mean(apart):.3f}, worst {max(apart):.2f}; stated spreads, "
        f"median {statistics.median(spreads):.3f}, worst {max(spreads):.2f}; "
        f"{len(apart) - len(far)} of {len(apart)} within them"
    )
    for ratio, what in sorted(far, reverse=True)[:12]:
        print(f"  {ratio:.2f} beyond the spread, {what}")


def excess(pair: tuple[SpeedEntry, SpeedEntry]) -> float:
    """How much further apart two runs lie than they state."""
    low, high = sorted(statistics.median(e.blocks) for e in pair)
    return high / low / max(e.spread or 1.0 for e in pair)


if __name__ == "__main__":
    main()
