"""Whether the ceilings and the times of `hal conformance --speed` can be relied on.

    python benchmarks/speed_ceilings.py [-d DEVICE ...] [--runs 3] [--only OPERATOR ...]

For each device and run, one after the other: what `--speed` measures, its ceilings and the
operators (`--only none`: no operators); then the same work by means that know nothing of HAL:
products by NumPy and by torch, copies by NumPy in one thread and in all and by torch, into memory
that is there already; the best of each counts. Printed:

- ceilings: the median of the runs for both, and their ratio; within 15 % is meant to hold, a star
  marks what is not. Copies are compared by size. An engine that hands its outputs over in a copy
  moves everything twice.
- operators: over the runs, the slowest median over the fastest, and for how many of them that is
  within the spread that the runs themselves state, or within 1.12, which no timing here resolves
"""

from __future__ import annotations

import argparse
import collections
import os
import statistics
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from hal_conformance._speed_text import amount
from hal_conformance.report import Limits, SpeedReport
from hal_conformance.speed.run import run_speed
from hal_conformance.speed.targets import ceiling_targets, targets

from hal.plugins import load_plugins
from hal.timing import time_blocks

NOISE = 1.12
"""What identical sessions differ by at worst."""
CLOSE = 0.15
DEVICES = ("ort:cpu", "openvino:cpu", "torch:cpu")
Key = tuple[str, int]
"""matmul or copy, and the bytes."""


def main() -> None:
    """Measure, and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-d", "--device", nargs="*", default=list(DEVICES))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=None, metavar="OPERATOR")
    arguments = parser.parse_args()
    sizes = sorted({(t.name, t.bytes) for t in ceiling_targets()})
    plain: dict[Key, list[float]] = collections.defaultdict(list)
    found: dict[str, list[SpeedReport]] = collections.defaultdict(list)
    chosen = targets(arguments.only)
    with load_plugins() as registry:
        devices = [registry.find_device(d) for d in arguments.device]
        for run in range(arguments.runs):
            for device in devices:
                print(f"run {run + 1}, {device.id}, load {os.getloadavg()[0]:.1f}", flush=True)
                found[device.id].append(
                    run_speed(registry, [device], chosen, Limits(), {})[device.id]
                )
            for key in sizes:
                plain[key].append(independent(key))
    for device_id, reports in found.items():
        show_ceilings(device_id, reports, plain)
        if chosen:
            show_operators(device_id, reports)


def independent(key: Key) -> float:
    """The best rate by NumPy or torch alone."""
    name, size = key
    work, ways = products(size) if name == "matmul" else copies(size)
    timings = time_blocks(ways, rounds=5, calls=max(5, min(500, int(2e9 / work))))
    return max(work / t.median for t in timings.values())


def products(size: int) -> tuple[float, Mapping[str, Callable[[], object]]]:
    """The operations of a square product, and ways to make it."""
    import torch

    n = round((size / 12) ** 0.5)
    drawn = np.random.default_rng(0)
    a, b = drawn.random((n, n), np.float32), drawn.random((n, n), np.float32)
    out = np.empty_like(a)
    ta, tb, tout = map(torch.from_numpy, (a, b, out))
    return 2.0 * n**3, {
        "numpy": lambda: np.matmul(a, b, out=out),
        "torch": lambda: torch.matmul(ta, tb, out=tout),
    }


def copies(size: int) -> tuple[float, Mapping[str, Callable[[], object]]]:
    """The bytes of a copy, and ways to make it."""
    import torch

    source = np.random.default_rng(0).random(size // 8, np.float32)
    target = np.empty_like(source)
    ts, tt = torch.from_numpy(source), torch.from_numpy(target)
    threads = os.cpu_count() or 1
    pool = ThreadPoolExecutor(threads)
    parts = list(zip(np.array_split(target, threads), np.array_split(source, threads), strict=True))
    return float(size), {
        "numpy": lambda: np.copyto(target, source),
        "numpy, threads": lambda: list(pool.map(lambda part: np.copyto(*part), parts)),
        "torch": lambda: tt.copy_(ts),
    }


def show_ceilings(
    device: str, reports: list[SpeedReport], plain: Mapping[Key, list[float]]
) -> None:
    """A row a ceiling, and one for the best product."""
    print(f"\n{device}: ceilings, measured by --speed and by NumPy or torch")
    rates: dict[Key, list[float]] = collections.defaultdict(list)
    for report in reports:
        for ceiling in report.ceilings:
            rates[ceiling.name, ceiling.bytes].append(ceiling.rate)
    best = {
        label: max(statistics.median(r) for (name, _), r in of.items() if name == "matmul")
        for label, of in (("hal", rates), ("plain", plain))
    }
    rows = [("matmul, best", "FLOP/s", best["hal"], best["plain"])]
    rows += [
        (
            f"{name} of {size / 2**20:.4g} MiB",
            "FLOP/s" if name == "matmul" else "B/s",
            statistics.median(own),
            statistics.median(plain[name, size]),
        )
        for (name, size), own in sorted(rates.items())
    ]
    for what, unit, own, other in rows:
        close = "" if abs(own / other - 1) <= CLOSE else "  *"
        both = f"{amount(own, unit):>13} {amount(other, unit):>13}"
        print(f"  {what:22} {both} {own / other:5.2f}{close}")


def show_operators(device: str, reports: list[SpeedReport]) -> None:
    """How far the runs lie apart."""
    apart, within, stated = [], 0, 0
    far: list[tuple[float, str]] = []
    for entries in zip(*(r.entries for r in reports), strict=True):
        times = [e.seconds for e in entries if e.seconds is not None]
        spreads = [e.spread for e in entries if e.spread is not None]
        if len(times) < len(reports):
            continue
        ratio = max(times) / min(times)
        apart.append(ratio)
        stated += ratio <= max(spreads)
        within += ratio <= max(NOISE, *spreads)
        if ratio > max(NOISE, *spreads):
            far.append((ratio, f"{entries[0].operator} {entries[0].shape[:60]}"))
    if not apart:
        print(f"\n{device}: no operator has a time in every run")
        return
    mean = statistics.geometric_mean(apart)
    print(
        f"\n{device}: {len(apart)} operators and sizes in {len(reports)} runs: slowest over "
        f"fastest, median {statistics.median(apart):.3f}, geomean {mean:.3f}, "
        f"worst {max(apart):.2f}; "
        f"{stated} within the stated spread, {within} within it or {NOISE}"
    )
    for ratio, what in sorted(far, reverse=True)[:8]:
        print(f"  {ratio:.2f}  {what}")


if __name__ == "__main__":
    main()
